-- Taking over the effects of committed batches. Every statement may run again: a second run changes nothing.

-- One at a time: an insert that waits for an erasure to commit would put the erased row back.
-- name: one_at_a_time
SELECT pg_advisory_xact_lock(hashtext('organism archive'));

-- The months of the records, which need partitions; and their weeks before this one are to be computed again. In one: the
-- records are parsed here, and once more to be stored.
-- name: mark_stale_weeks
WITH days AS MATERIALIZED (
    SELECT DISTINCT date_trunc('day', to_timestamp(r.time_ms / 1000.0) AT TIME ZONE 'UTC') AS day
    FROM json_to_recordset(%(records)s::json) AS r(time_ms bigint)
), marked AS (
    INSERT INTO stale_weeks (week, marked_at)
    SELECT DISTINCT date_trunc('week', day)::date, now() FROM days
    WHERE day < date_trunc('week', now() AT TIME ZONE 'UTC')
    ON CONFLICT (week) DO UPDATE SET marked_at = excluded.marked_at
)
SELECT DISTINCT date_trunc('month', day) AS month FROM days;

-- name: ensure_months
SELECT ensure_interaction_months(%(first)s, %(last)s);

-- An erased person cannot come back through a writer that was stopped before the erasure and woke up after it.
-- name: store_interactions
INSERT INTO interactions (key, time, digest, source, medium, actor, targets, target_count, scope, duration_s, response_s,
                          tz_offset_min)
SELECT r.key, to_timestamp(r.time_ms / 1000.0), r.digest, r.source, r.medium, r.actor, r.targets, r.target_count, r.scope,
       r.duration_s, r.response_s, r.tz_offset_min
FROM json_to_recordset(%(records)s::json) AS r(
    key text, time_ms bigint, digest bigint, source text, medium text, actor text, targets text[], target_count smallint,
    scope text, duration_s integer, response_s integer, tz_offset_min smallint)
WHERE NOT EXISTS (SELECT FROM exclusions x WHERE x.erased AND (x.person = r.actor OR x.person = ANY (r.targets)))
ON CONFLICT (key, time) DO NOTHING;

-- name: store_roster
INSERT INTO roster_history (key, digest, source, person, time, kind, team, role_class, manager, tz)
SELECT r.key, r.digest, r.source, r.person, to_timestamp(r.time_ms / 1000.0), r.kind, r.team, r.role_class, r.manager, r.tz
FROM json_to_recordset(%(records)s::json) AS r(
    key text, digest bigint, source text, person text, time_ms bigint, kind text, team text, role_class text, manager text,
    tz text)
WHERE NOT EXISTS (SELECT FROM exclusions x WHERE x.erased AND x.person = r.person)
ON CONFLICT (key) DO NOTHING;

-- name: store_heartbeats
INSERT INTO heartbeats (source, last)
SELECT r.source, max(to_timestamp(r.time_ms / 1000.0))
FROM json_to_recordset(%(records)s::json) AS r(source text, time_ms bigint)
GROUP BY r.source
ON CONFLICT (source) DO UPDATE SET last = greatest(heartbeats.last, excluded.last);

-- name: store_outcomes
INSERT INTO outcomes (key, person, time, measure, value, scale, period)
SELECT r.key, r.person, to_timestamp(r.time_ms / 1000.0), r.measure, r.value, r.scale, r.period
FROM json_to_recordset(%(records)s::json) AS r(
    key text, person text, time_ms bigint, measure text, value double precision, scale text, period text)
WHERE NOT EXISTS (SELECT FROM exclusions x WHERE x.erased AND x.person = r.person)
ON CONFLICT (key) DO NOTHING;

-- name: store_retractions
WITH r AS (
    SELECT target_key, to_timestamp(min(time_ms) / 1000.0) AS time
    FROM json_to_recordset(%(records)s::json) AS r(target_key text, time_ms bigint)
    GROUP BY target_key
), noted AS (
    INSERT INTO retractions (target_key, time) SELECT target_key, time FROM r ON CONFLICT (target_key) DO NOTHING
)
UPDATE interactions i SET retracted_at = r.time FROM r WHERE i.key = r.target_key AND i.retracted_at IS NULL;

-- name: store_privacy
INSERT INTO exclusions (person, since, erased)
SELECT r.person, min(to_timestamp(r.time_ms / 1000.0)), bool_or(r.erase)
FROM json_to_recordset(%(records)s::json) AS r(person text, time_ms bigint, erase boolean)
GROUP BY r.person
ON CONFLICT (person) DO UPDATE SET erased = exclusions.erased OR excluded.erased;

-- Erasure: rows of the person go; rows of others lose the person but keep their weight (target_count stays).
-- name: erase
WITH p AS (
    SELECT DISTINCT person FROM json_to_recordset(%(records)s::json) AS r(person text, erase boolean) WHERE erase
), roster AS (DELETE FROM roster_history h USING p WHERE h.person = p.person
), managed AS (UPDATE roster_history h SET manager = NULL FROM p WHERE h.manager = p.person AND h.person <> p.person
), measured AS (DELETE FROM outcomes o USING p WHERE o.person = p.person
), summed AS (DELETE FROM tie_baseline b USING p WHERE p.person IN (b.actor, b.target)
), acted AS (
    DELETE FROM interactions i USING p WHERE i.actor = p.person OR i.targets = ARRAY[p.person]
)
UPDATE interactions i SET targets = array_remove(i.targets, p.person)
FROM p WHERE p.person = ANY (i.targets) AND i.actor <> p.person AND i.targets <> ARRAY[p.person];

-- ---- reading

-- name: interactions
SELECT key, digest, source, time, medium, actor, targets, target_count, scope, duration_s, response_s, tz_offset_min
FROM interactions WHERE retracted_at IS NULL;

-- name: find
SELECT key, digest, source, time, medium, actor, targets, target_count, scope, duration_s, response_s, tz_offset_min
FROM interactions WHERE key = ANY (%(keys)s) AND retracted_at IS NULL;

-- name: between
SELECT key, digest, source, time, medium, actor, targets, target_count, scope, duration_s, response_s, tz_offset_min
FROM interactions WHERE actor = ANY (%(actors)s) AND targets && %(targets)s AND retracted_at IS NULL;

-- name: known
SELECT key FROM interactions WHERE key = ANY (%(keys)s) UNION SELECT target_key FROM retractions
WHERE target_key = ANY (%(keys)s);

-- name: baseline
SELECT actor, target, medium, n, seconds, strength, first_ms, last_ms FROM tie_baseline;

-- name: baseline_between
SELECT actor, target, medium, n, seconds, strength, first_ms, last_ms FROM tie_baseline
WHERE actor = ANY (%(actors)s) AND target = ANY (%(targets)s);

-- name: roster
SELECT key, digest, source, time, kind, person, team, role_class, manager, tz FROM roster_history ORDER BY time, key;

-- name: withdrawn
SELECT target_key, time FROM retractions;

-- name: excluded
SELECT person FROM exclusions;

-- name: count
SELECT count(*) AS n FROM interactions WHERE retracted_at IS NULL;

-- name: note_drop
INSERT INTO dropped_letters (lane, id, code, source_id, reason, dropped_by)
VALUES (%(lane)s, %(id)s, %(code)s, %(source_id)s, %(reason)s, %(who)s)
ON CONFLICT (lane, id) DO NOTHING;

-- ---- retention

-- name: add_baseline
INSERT INTO tie_baseline (actor, target, medium, n, seconds, strength, first_ms, last_ms)
SELECT * FROM json_to_recordset(%(ties)s::json) AS r(
    actor text, target text, medium text, n bigint, seconds bigint, strength double precision, first_ms bigint,
    last_ms bigint)
ON CONFLICT (actor, target, medium) DO UPDATE SET
    n = tie_baseline.n + excluded.n, seconds = tie_baseline.seconds + excluded.seconds,
    strength = tie_baseline.strength + excluded.strength,
    first_ms = least(tie_baseline.first_ms, excluded.first_ms), last_ms = greatest(tie_baseline.last_ms, excluded.last_ms);

-- Deleted and handed out in one statement: of two runs only one gets a row, and what is not handed out is not deleted.
-- name: take_before
WITH gone AS (DELETE FROM interactions WHERE time < %(before)s RETURNING *)
SELECT key, digest, source, time, medium, actor, targets, target_count, scope, duration_s, response_s, tz_offset_min
FROM gone WHERE retracted_at IS NULL;

-- name: outcomes
SELECT person, time, measure, value FROM outcomes
WHERE time >= %(since)s AND NOT EXISTS (SELECT FROM exclusions WHERE exclusions.person = outcomes.person)
