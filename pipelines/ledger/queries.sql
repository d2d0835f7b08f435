-- The account of runs. Every change is one statement that says itself what it may be done to: of a close, a beat and a reaper
-- at the same moment the database makes a sequence, and each sees the row as the one before it left it.

-- name: schedule
INSERT INTO workflow_runs (flow_name, flow_run_id, deployment_name, status, parameters, scheduled_at, created_at, execution_mode)
VALUES (%(flow_name)s, %(run_id)s, %(deployment_name)s, 'scheduled', %(parameters)s, %(scheduled_at)s, %(now)s, %(mode)s)
ON CONFLICT (flow_run_id) DO NOTHING;

-- Who was cancelled before it began does not begin: no row is returned. A row that is at work keeps its start (the second try
-- of one life), one that had ended starts anew; what it was asked with comes together with what it is begun with.
-- name: begin
INSERT INTO workflow_runs AS r (flow_name, flow_run_id, deployment_name, status, parameters, scheduled_at, started_at,
                                created_at, heartbeat_at, execution_mode)
VALUES (%(flow_name)s, %(run_id)s, %(deployment_name)s, 'running', %(parameters)s, %(scheduled_at)s, %(now)s,
        %(now)s, %(now)s, %(mode)s)
ON CONFLICT (flow_run_id) DO UPDATE SET
    status = 'running',
    execution_mode = excluded.execution_mode,
    deployment_name = coalesce(excluded.deployment_name, r.deployment_name),
    parameters = r.parameters || excluded.parameters,
    result = '{}', error = NULL, error_kind = NULL, completed_at = NULL, duration_seconds = NULL,
    scheduled_at = coalesce(r.scheduled_at, excluded.scheduled_at),
    started_at = CASE WHEN r.status = 'running' THEN r.started_at ELSE excluded.started_at END,
    heartbeat_at = greatest(r.heartbeat_at, excluded.heartbeat_at),
    prefect_state = CASE WHEN r.completed_at IS NULL THEN r.prefect_state END,
    attempts = r.attempts + CASE WHEN r.started_at IS NULL THEN 0 ELSE 1 END
WHERE NOT (r.status = 'cancelled' AND r.started_at IS NULL);

-- name: correlate
UPDATE workflow_runs SET correlation_id = %(correlation_id)s WHERE flow_run_id = %(run_id)s;

-- name: note_prefect_state
UPDATE workflow_runs SET prefect_state = %(state)s WHERE flow_run_id = %(run_id)s;

-- name: beat
UPDATE workflow_runs SET heartbeat_at = greatest(heartbeat_at, %(now)s)
WHERE flow_run_id = %(run_id)s AND status = 'running'
RETURNING status;

-- A statement of its own, because here columns with an index change, and a beat must not.
-- name: revive
UPDATE workflow_runs SET status = 'running', heartbeat_at = greatest(heartbeat_at, %(now)s), completed_at = NULL,
    duration_seconds = NULL, error = NULL, error_kind = NULL
WHERE flow_run_id = %(run_id)s AND status = 'failed' AND error_kind = ANY (%(refuted)s) AND started_at IS NOT NULL
RETURNING status;

-- name: status_of
SELECT status FROM workflow_runs WHERE flow_run_id = %(run_id)s;

-- name: note_step
INSERT INTO workflow_steps (run, name, position, status, attempts, started_at, seconds, cpu_seconds, peak_bytes, counts, error)
SELECT id, %(step)s, %(position)s, %(status)s, %(attempts)s, %(started_at)s, %(seconds)s, %(cpu_seconds)s, %(peak_bytes)s,
       %(counts)s, %(error)s
FROM workflow_runs WHERE flow_run_id = %(run_id)s
ON CONFLICT (run, name) DO UPDATE SET
    position = excluded.position, status = excluded.status, attempts = excluded.attempts, started_at = excluded.started_at,
    seconds = excluded.seconds, cpu_seconds = excluded.cpu_seconds, peak_bytes = excluded.peak_bytes,
    counts = excluded.counts, error = excluded.error;

-- name: close
UPDATE workflow_runs SET
    status = %(status)s, completed_at = %(now)s, error = %(error)s, error_kind = %(error_kind)s,
    result = coalesce(%(result)s, result),
    duration_seconds = CASE WHEN started_at IS NOT NULL
                       THEN greatest(0, extract(epoch FROM %(now)s::timestamptz - started_at)) END
WHERE flow_run_id = %(run_id)s AND (status IN ('scheduled', 'running') OR error_kind = ANY (%(found)s))
RETURNING id;

-- A step that was at work when its run ended has ended like it.
-- name: end_steps
UPDATE workflow_steps SET status = %(status)s WHERE run = ANY (%(ids)s) AND status = 'running';

-- Who is locked is being written by somebody at this moment, and is alive or closed by another reaper: left alone.
-- A run is silent when somebody else was heard in the middle of its silence; else it was perhaps this database that was away.
-- name: silent
SELECT id FROM workflow_runs r
WHERE (status = 'running' AND heartbeat_at < %(now)s::timestamptz - %(silent)s::interval AND EXISTS (
          SELECT FROM workflow_runs w,
               LATERAL (VALUES (w.created_at), (w.started_at), (w.heartbeat_at), (w.completed_at)) heard (at)
          WHERE w.id <> r.id AND w.created_at BETWEEN r.heartbeat_at - interval '1 day' AND %(now)s::timestamptz
            AND heard.at BETWEEN r.heartbeat_at + %(pause)s::interval AND %(now)s::timestamptz - %(pause)s::interval))
   OR (status = 'scheduled' AND coalesce(scheduled_at, created_at) < %(now)s::timestamptz - %(unstarted)s::interval)
ORDER BY id
FOR UPDATE OF r SKIP LOCKED;

-- name: clock
SELECT clock_timestamp();

-- The duration is as long as it is known to have lived.
-- name: reap
UPDATE workflow_runs SET
    status = 'failed', completed_at = %(now)s, error = %(error)s, error_kind = %(error_kind)s,
    duration_seconds = CASE WHEN started_at IS NOT NULL
                       THEN greatest(0, extract(epoch FROM heartbeat_at - started_at)) END
WHERE id = %(id)s;

-- name: id_of
SELECT id FROM workflow_runs WHERE flow_run_id = %(run_id)s;

-- name: rows
SELECT id, flow_name, flow_run_id, status, execution_mode, created_at, deployment_name, parameters, result, error, error_kind,
       scheduled_at, started_at, completed_at, duration_seconds, heartbeat_at, prefect_state, correlation_id, attempts
FROM workflow_runs WHERE id = ANY (%(ids)s) ORDER BY id DESC;

-- name: steps
SELECT run, name, position, status, attempts, started_at, seconds, cpu_seconds, peak_bytes, counts, error
FROM workflow_steps WHERE run = ANY (%(ids)s) ORDER BY run, position, started_at, name;

-- Every flow's name, by as many jumps in the index as there are flows.
-- name: flow_names
WITH RECURSIVE names AS (
    (SELECT flow_name FROM workflow_runs ORDER BY flow_name LIMIT 1)
    UNION ALL
    SELECT (SELECT r.flow_name FROM workflow_runs r WHERE r.flow_name > n.flow_name ORDER BY r.flow_name LIMIT 1)
    FROM names n WHERE n.flow_name IS NOT NULL
)
SELECT flow_name FROM names WHERE flow_name IS NOT NULL;

-- Planned anew for every call (prepare=False): the server then leaves out what is NULL and takes the index that fits.
-- name: find
SELECT id FROM workflow_runs
WHERE (%(flows)s::text[] IS NULL OR flow_name = ANY (%(flows)s::text[]))
  AND (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s::text[]))
  AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s::timestamptz)
  AND (%(before_id)s::bigint IS NULL OR id < %(before_id)s::bigint)
ORDER BY id DESC LIMIT %(limit)s;

-- name: count
SELECT count(*) FROM workflow_runs
WHERE (%(flow_name)s::text IS NULL OR flow_name = %(flow_name)s::text)
  AND (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s::text[]));

-- Wrong input that somebody gave at a terminal is no failure of the flow.
-- name: figures
WITH seen AS (
    SELECT id, flow_name, status, duration_seconds,
           status = 'failed' AND NOT (execution_mode = 'direct' AND error_kind IS NOT DISTINCT FROM 'input') AS broken
    FROM workflow_runs
    WHERE created_at >= %(since)s AND created_at < %(until)s
), of_steps AS (
    SELECT r.flow_name, count(*) AS steps, count(*) FILTER (WHERE s.attempts > 1) AS repeated
    FROM seen r JOIN workflow_steps s ON s.run = r.id GROUP BY r.flow_name
), of_runs AS (
    SELECT flow_name, count(*) AS runs,
           count(*) FILTER (WHERE status = 'completed') AS completed,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
           count(*) FILTER (WHERE status = 'running') AS running,
           count(*) FILTER (WHERE broken) AS broken,
           array_agg(duration_seconds ORDER BY duration_seconds)
               FILTER (WHERE status = 'completed' AND duration_seconds IS NOT NULL) AS seconds
    FROM seen GROUP BY flow_name
)
SELECT r.flow_name, runs, completed, failed, cancelled, running,
       completed::double precision / nullif(completed + broken, 0),
       s.repeated::double precision / nullif(s.steps, 0),
       coalesce(seconds, '{}'), completed + broken
FROM of_runs r LEFT JOIN of_steps s USING (flow_name)
ORDER BY r.flow_name;

-- name: sums
SELECT r.flow_name, said.key, sum((said.value #>> '{}')::double precision),
       min(coalesce(r.completed_at, r.created_at)), (array_agg(r.flow_run_id ORDER BY r.id DESC))[1]
FROM workflow_runs r, jsonb_each(r.result) said
WHERE r.created_at >= %(since)s AND r.created_at < %(until)s
  AND jsonb_typeof(said.value) = 'number' AND said.value <> '0'
GROUP BY r.flow_name, said.key
ORDER BY r.flow_name, said.key;

-- name: first_seen
SELECT created_at FROM workflow_runs ORDER BY id LIMIT 1;

-- Of one incarnation the count only grows: who looked a moment ago and is late does not take it back.
-- name: note_stream
INSERT INTO stream_marks (born, lost, seen_at)
SELECT %(born)s, %(lost)s, %(now)s
WHERE NOT EXISTS (SELECT FROM stream_marks WHERE born = %(born)s AND lost >= %(lost)s)
ON CONFLICT DO NOTHING;

-- name: stream_marks
SELECT born, lost, seen_at FROM stream_marks
WHERE seen_at >= coalesce((SELECT max(seen_at) FROM stream_marks WHERE seen_at < %(since)s), %(since)s)
ORDER BY seen_at, lost;

-- name: forget
DELETE FROM workflow_runs WHERE created_at < %(before)s AND completed_at IS NOT NULL RETURNING id;
