-- Points, findings, normal bands and step results. Every statement may run again: a second run changes nothing.

-- One writer at a time: two that touch the same rows in a different order would end in a deadlock.
-- name: one_at_a_time
SELECT pg_advisory_xact_lock(hashtext('organism points'));

-- ---- points

-- name: create_staging
CREATE TEMP TABLE points_in (
    series integer NOT NULL, subject text COLLATE "C" NOT NULL, value double precision NOT NULL, people integer NOT NULL
) ON COMMIT DROP;

-- name: copy_points
COPY points_in (series, subject, value, people) FROM STDIN;

-- Who was excluded does not come back through a number that was computed before.
-- name: leave_out_excluded
DELETE FROM points_in i USING exclusions x WHERE i.subject = x.person AND i.series = ANY (%(persons)s);

-- name: ensure_months
SELECT ensure_points_month(month) FROM unnest(%(months)s::timestamptz[]) AS month;

-- What is there already is left out before, since ON CONFLICT locks, and so writes, even a row that it does not change.
-- The lists of views, kinds and times say nothing new; they keep that look-up to the months and index ranges concerned.
-- name: store_points
INSERT INTO points AS p (time, subject_kind, subject, view, view_version, value, people, run)
SELECT s.time, s.kind, i.subject, s.view, s.version, i.value, i.people, %(run)s
FROM points_in i
JOIN unnest(%(numbers)s::integer[], %(views)s::text[], %(versions)s::integer[], %(kinds)s::text[],
            %(times)s::timestamptz[]) AS s(series, view, version, kind, time) USING (series)
WHERE NOT EXISTS (
    SELECT FROM points o
    WHERE o.view = s.view AND o.subject_kind = s.kind AND o.time = s.time AND o.subject = i.subject
      AND o.view_version = s.version AND o.value = i.value AND o.people = i.people
      AND o.view = ANY (%(views)s::text[]) AND o.subject_kind = ANY (%(kinds)s::text[])
      AND o.time = ANY (%(times)s::timestamptz[]))
ON CONFLICT (view, subject_kind, time, subject, view_version) DO UPDATE
SET value = excluded.value, people = excluded.people, run = excluded.run
WHERE (p.value, p.people) IS DISTINCT FROM (excluded.value, excluded.people);

-- name: empty_staging
TRUNCATE points_in;

-- name: series
SELECT time, subject, value, people FROM points
WHERE view = %(view)s AND view_version = %(version)s AND subject_kind = %(kind)s
  AND time >= %(since)s AND time < %(until)s
ORDER BY time, subject;

-- name: latest
SELECT time, subject, value, people FROM points
WHERE view = %(view)s AND view_version = %(version)s AND subject_kind = %(kind)s
  AND time = (SELECT max(time) FROM points
              WHERE view = %(view)s AND view_version = %(version)s AND subject_kind = %(kind)s)
ORDER BY subject;

-- name: weekly
SELECT week, subject, value, people FROM points_weekly
WHERE view = %(view)s AND view_version = %(version)s AND subject_kind = %(kind)s
  AND week >= %(since)s AND week < %(until)s
ORDER BY week, subject;

-- name: retire_points
SELECT retire_points(%(before)s);

-- name: take_erasures
DELETE FROM points_to_erase RETURNING person;

-- name: no_time_limit
SET LOCAL statement_timeout = 0;

-- name: erase
DELETE FROM points WHERE subject_kind = 'person' AND subject = ANY (%(people)s);

-- ---- findings and normal bands

-- name: store_findings
INSERT INTO findings AS f (id, run, body)
SELECT r.id, %(run)s, r.body FROM json_to_recordset(%(records)s::json) AS r(id text, body jsonb)
ON CONFLICT (id) DO UPDATE SET body = excluded.body, run = excluded.run WHERE f.body IS DISTINCT FROM excluded.body;

-- name: forget_finding_runs
DELETE FROM finding_runs f
WHERE f.run = %(run)s
  AND NOT EXISTS (SELECT FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS n(id, position)
                  WHERE n.id = f.finding AND n.position = f.position);

-- name: store_finding_runs
INSERT INTO finding_runs (run, position, finding)
SELECT %(run)s, n.position, n.id FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS n(id, position)
ON CONFLICT (run, position) DO NOTHING;

-- name: findings
SELECT body::text FROM findings JOIN finding_runs ON finding = id WHERE finding_runs.run = %(run)s ORDER BY position;

-- name: store_baselines
INSERT INTO baselines AS b (subject_kind, subject, view, view_version, low, high, people, weeks, from_week, to_week, run)
SELECT r.kind, r.subject, r.view, r.version, r.low, r.high, r.people, r.weeks, r.from_week, r.to_week, %(run)s
FROM json_to_recordset(%(records)s::json) AS r(
    kind text, subject text, view text, version integer, low double precision, high double precision, people integer,
    weeks integer, from_week date, to_week date)
ON CONFLICT (view, subject_kind, subject, view_version, to_week) DO UPDATE
SET low = excluded.low, high = excluded.high, people = excluded.people, weeks = excluded.weeks,
    from_week = excluded.from_week, run = excluded.run
WHERE (b.low, b.high, b.people, b.weeks, b.from_week)
      IS DISTINCT FROM (excluded.low, excluded.high, excluded.people, excluded.weeks, excluded.from_week);

-- name: baselines
SELECT DISTINCT ON (subject) view, view_version, subject_kind, subject, low, high, people, weeks, from_week, to_week
FROM baselines
WHERE view = %(view)s AND view_version = %(version)s AND subject_kind = %(kind)s
ORDER BY subject, to_week DESC;

-- ---- step results

-- name: put_result
INSERT INTO step_results (run, step, done_at, counts, payload)
VALUES (%(run)s, %(step)s, %(done_at)s, %(counts)s::jsonb, %(payload)s)
ON CONFLICT (run, step) DO UPDATE
SET done_at = excluded.done_at, counts = excluded.counts, payload = excluded.payload;

-- name: result
SELECT run, step, done_at, counts::text, payload FROM step_results WHERE run = %(run)s AND step = %(step)s;

-- name: steps
SELECT step FROM step_results WHERE run = %(run)s ORDER BY done_at, step;

-- name: latest_run
SELECT run FROM step_results ORDER BY done_at DESC, run DESC LIMIT 1;

-- A run goes as a whole, and only when its last step is old: half a run could not be taken up.
-- name: forget_results
DELETE FROM step_results
WHERE run IN (SELECT run FROM step_results GROUP BY run HAVING max(done_at) < %(before)s);
