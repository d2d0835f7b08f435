-- Weeks of people: reading a stretch of the archive, and replacing a week as a whole.

-- What the archive has taken over, from when to when; and whether retention has removed something before that.
-- name: span
SELECT min(time) AS first, max(time) AS last, EXISTS (SELECT FROM tie_baseline) AS retired FROM interactions;

-- name: count
SELECT count(*) AS n FROM interactions WHERE time >= %(start)s AND time < %(end)s AND retracted_at IS NULL;

-- A shard is a range of the last two digits of a pseudonym. "C": digits come before letters on every server.
-- name: acts
SELECT (extract(epoch FROM time) * 1000)::bigint, medium, scope, actor, array_to_string(targets, ' '), target_count,
       duration_s, response_s, tz_offset_min
FROM interactions
WHERE time >= %(start)s AND time < %(end)s AND retracted_at IS NULL AND (
    %(all)s
    OR (right(actor, 2) COLLATE "C" >= %(low)s AND right(actor, 2) COLLATE "C" < %(high)s)
    OR EXISTS (SELECT FROM unnest(targets) AS t(person)
               WHERE right(t.person, 2) COLLATE "C" >= %(low)s AND right(t.person, 2) COLLATE "C" < %(high)s));

-- name: states
SELECT week, version, revision, final, strain_due, computed_at, interactions FROM computed_weeks;

-- name: marks
SELECT week, marked_at FROM stale_weeks;

-- name: rows
SELECT week, person, team, working_days, sent, received, meeting_h, after_hours_share, weekend_share, short_rests, span_h,
       focus_blocks, fragmentation, response_load, response_h, network_size, strain, strain_parts
FROM person_weeks WHERE week >= %(first)s AND week < %(end)s ORDER BY week, person;

-- ---- writing

-- The archive's lock: an erasure that commits meanwhile would not see our rows, and they would stay.
-- name: one_at_a_time
SELECT pg_advisory_xact_lock(hashtext('organism archive'));

-- No row comes back when somebody else wrote the week since.
-- name: claim
INSERT INTO computed_weeks AS c (week, version, revision, computed_at, final, strain_due, people, interactions)
SELECT %(week)s, %(version)s, 1, %(computed_at)s, %(final)s, false, %(people)s, %(interactions)s
WHERE %(revision)s = 0 OR EXISTS (SELECT FROM computed_weeks WHERE week = %(week)s)
ON CONFLICT (week) DO UPDATE SET
    version = excluded.version, revision = c.revision + 1, computed_at = excluded.computed_at, final = excluded.final,
    strain_due = false, people = excluded.people, interactions = excluded.interactions
WHERE c.revision = %(revision)s
RETURNING revision;

-- name: clear
DELETE FROM person_weeks WHERE week = %(week)s;

-- name: copy
COPY person_weeks (week, person, team, working_days, sent, received, meeting_h, after_hours_share, weekend_share, short_rests,
                   span_h, focus_blocks, fragmentation, response_load, response_h, network_size, strain, strain_parts)
FROM STDIN;

-- name: drop_excluded
DELETE FROM person_weeks w USING exclusions x WHERE w.week = %(week)s AND w.person = x.person;

-- name: strain_due
UPDATE computed_weeks SET strain_due = true
WHERE week > %(week)s AND week <= %(week)s::date + 7 * %(weeks)s::integer;

-- A mark that was made again since is another mark, and stays.
-- name: settle
DELETE FROM stale_weeks s USING unnest(%(weeks)s::date[], %(ats)s::timestamptz[]) AS m(week, at)
WHERE s.week = m.week AND s.marked_at = m.at;

-- name: claim_strain
UPDATE computed_weeks SET revision = revision + 1, strain_due = false
WHERE week = %(week)s AND revision = %(revision)s RETURNING revision;

-- name: set_strain
UPDATE person_weeks w SET strain = r.strain, strain_parts = r.parts
FROM json_to_recordset(%(rows)s::json) AS r(person text, strain real, parts jsonb)
WHERE w.week = %(week)s AND w.person = r.person;
