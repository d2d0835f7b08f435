-- The account: every run of every flow and the steps of each, whoever scheduled it, and also when nobody did.

CREATE TABLE workflow_runs (
    id               bigserial PRIMARY KEY,
    flow_name        text COLLATE "C" NOT NULL,
    flow_run_id      text COLLATE "C" NOT NULL UNIQUE,
    deployment_name  text,
    status           text NOT NULL CHECK (status IN ('scheduled', 'running', 'completed', 'failed', 'cancelled')),
    parameters       jsonb NOT NULL DEFAULT '{}',
    result           jsonb NOT NULL DEFAULT '{}',
    error            text,
    scheduled_at     timestamptz,
    started_at       timestamptz,
    completed_at     timestamptz,
    duration_seconds double precision CHECK (duration_seconds >= 0),
    created_at       timestamptz NOT NULL,
    execution_mode   text NOT NULL CHECK (execution_mode IN ('prefect', 'direct')),
    prefect_state    text,
    heartbeat_at     timestamptz,
    correlation_id   text,
    error_kind       text,
    attempts         integer NOT NULL DEFAULT 1 CHECK (attempts >= 1),
    CONSTRAINT ended_is_dated CHECK ((completed_at IS NULL) = (status IN ('scheduled', 'running'))),
    CONSTRAINT running_is_dated CHECK (status <> 'running' OR (started_at IS NOT NULL AND heartbeat_at IS NOT NULL)),
    CONSTRAINT kind_is_of_an_end CHECK (error_kind IS NULL OR status IN ('failed', 'cancelled'))
);
-- heartbeat_at is in no index, so that a sign of life (every 15 s, of every run) is an update of the row alone.
CREATE INDEX ix_workflow_flow_status ON workflow_runs (flow_name, status);
CREATE INDEX ix_workflow_created ON workflow_runs (created_at);
-- The newest of a flow, and the newest of a status: pages of a list, and the few that are open.
CREATE INDEX ix_workflow_flow ON workflow_runs (flow_name, id);
CREATE INDEX ix_workflow_status ON workflow_runs (status, id);

CREATE TABLE workflow_steps (
    run         bigint NOT NULL REFERENCES workflow_runs ON DELETE CASCADE,
    name        text NOT NULL,
    position    integer NOT NULL,
    status      text NOT NULL CHECK (status IN ('scheduled', 'running', 'completed', 'failed', 'cancelled')),
    attempts    integer NOT NULL CHECK (attempts >= 1),
    started_at  timestamptz NOT NULL,
    seconds     double precision NOT NULL CHECK (seconds >= 0),
    cpu_seconds double precision NOT NULL CHECK (cpu_seconds >= 0),
    peak_bytes  bigint,
    counts      jsonb NOT NULL DEFAULT '{}',
    error       text,
    PRIMARY KEY (run, name)
);
