-- Who asked for a run, and the request by which a repetition of it is known. Beside workflow_runs and not in it, because a row
-- is here before anybody knows which run it will be, and because Prefect, which everybody may look at, is never told.

CREATE TABLE run_requests (
    id              text COLLATE "C" PRIMARY KEY,
    flow_name       text NOT NULL,
    parameters      jsonb NOT NULL DEFAULT '{}',
    execution_mode  text NOT NULL CHECK (execution_mode IN ('prefect', 'direct')),
    asked_by        text NOT NULL,
    request_digest  text NOT NULL,
    idempotency_key text,  -- the digest of what was given, until it is forgotten
    retry_of        text COLLATE "C",
    run_id          text COLLATE "C" UNIQUE,  -- workflow_runs.flow_run_id, once it is known
    asked_at        timestamptz NOT NULL,
    launched_at     timestamptz,  -- direct mode: when a process was last started for it
    taken_at        timestamptz   -- direct mode: when that process took it up
);
CREATE UNIQUE INDEX ix_run_requests_key ON run_requests (asked_by, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX ix_run_requests_retry ON run_requests (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX ix_run_requests_asked ON run_requests (asked_at);
