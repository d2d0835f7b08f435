-- Requests for runs. What decides between two at the same moment is an index or a condition of the one statement.

-- A key is kept for a time and then free again; its row stays with the run.
-- name: expire_key
UPDATE run_requests SET idempotency_key = NULL
WHERE asked_by = %(asked_by)s AND idempotency_key = %(key)s AND asked_at < %(key_since)s;

-- Of two retries of one run at the same moment the second waits here until the first is written.
-- name: one_at_a_time
SELECT pg_advisory_xact_lock(hashtext('organism retry ' || %(retry_of)s));

-- A request that has no run yet counts as open for a while: somebody is at it, or died at it.
-- name: open_retry
SELECT r.id FROM run_requests r LEFT JOIN workflow_runs w ON w.flow_run_id = r.run_id
WHERE r.retry_of = %(retry_of)s
  AND (w.status IN ('scheduled', 'running') OR (w.id IS NULL AND r.asked_at > %(open_since)s))
ORDER BY r.asked_at DESC LIMIT 1;

-- name: claim
INSERT INTO run_requests (id, flow_name, execution_mode, asked_by, request_digest, asked_at, parameters, idempotency_key,
                          retry_of, run_id)
VALUES (%(id)s, %(flow_name)s, %(mode)s, %(asked_by)s, %(digest)s, %(now)s, %(parameters)s, %(key)s, %(retry_of)s, %(run_id)s)
ON CONFLICT (asked_by, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING id;

-- name: by_id
SELECT id, flow_name, execution_mode, asked_by, request_digest, asked_at, parameters, idempotency_key, retry_of, run_id
FROM run_requests WHERE id = %(id)s;

-- name: by_key
SELECT id, flow_name, execution_mode, asked_by, request_digest, asked_at, parameters, idempotency_key, retry_of, run_id
FROM run_requests WHERE asked_by = %(asked_by)s AND idempotency_key = %(key)s AND asked_at >= %(key_since)s;

-- name: by_run
SELECT id, flow_name, execution_mode, asked_by, request_digest, asked_at, parameters, idempotency_key, retry_of, run_id
FROM run_requests WHERE run_id = %(run_id)s;

-- name: note_run
UPDATE run_requests SET run_id = %(run_id)s WHERE id = %(id)s AND run_id IS NULL;

-- name: withdraw
DELETE FROM run_requests WHERE id = %(id)s AND run_id IS NULL;

-- One launch at a time: who was launched long ago and was never taken up may be launched again.
-- name: may_launch
UPDATE run_requests SET launched_at = %(now)s
WHERE id = %(id)s AND taken_at IS NULL AND (launched_at IS NULL OR launched_at < %(launched_before)s)
RETURNING id;

-- Of two processes for one run the second gets no row.
-- name: take_up
UPDATE run_requests SET taken_at = %(now)s WHERE run_id = %(run_id)s AND taken_at IS NULL RETURNING id;

-- With who asked for the runs that it repeats: they want what comes of it, too.
-- name: askers
WITH RECURSIVE chain AS (
    SELECT id, asked_by, asked_at, retry_of FROM run_requests WHERE id = %(id)s OR run_id = %(id)s
    UNION
    SELECT r.id, r.asked_by, r.asked_at, r.retry_of FROM run_requests r JOIN chain c ON r.run_id = c.retry_of
)
SELECT asked_by FROM chain GROUP BY asked_by ORDER BY min(asked_at), asked_by;

-- name: forget
DELETE FROM run_requests WHERE asked_at < %(before)s RETURNING id;
