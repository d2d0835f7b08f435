-- What the pipeline has applied: the source for recount, rebuild and every load metric.

CREATE TABLE exclusions (
    person text PRIMARY KEY,
    since  timestamptz NOT NULL,
    erased boolean NOT NULL
);

CREATE TABLE roster_history (
    key        text PRIMARY KEY,
    digest     bigint NOT NULL,
    source     text NOT NULL,
    person     text NOT NULL,
    time       timestamptz NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('joined', 'moved', 'left')),
    team       text,
    role_class text,
    manager    text,
    tz         text
);
CREATE INDEX ix_roster_person_time ON roster_history (person, time);

CREATE TABLE outcomes (
    key     text PRIMARY KEY,
    person  text NOT NULL,
    time    timestamptz NOT NULL,
    measure text NOT NULL,
    value   double precision NOT NULL,
    scale   text,
    period  text
);
CREATE INDEX ix_outcomes_person_time ON outcomes (person, time);

CREATE TABLE heartbeats (
    source text PRIMARY KEY,
    last   timestamptz NOT NULL
);

CREATE TABLE retractions (
    target_key text PRIMARY KEY,
    time       timestamptz NOT NULL
);

-- Sums of interactions that retention removed: recount = baseline + archive stays exact for ever.
CREATE TABLE tie_baseline (
    actor    text NOT NULL,
    target   text NOT NULL,
    medium   text NOT NULL,
    n        bigint NOT NULL,
    seconds  bigint NOT NULL,
    strength double precision NOT NULL,
    first_ms bigint NOT NULL,
    last_ms  bigint NOT NULL,
    PRIMARY KEY (actor, target, medium)
);

-- All that stays of a letter that a person dropped.
CREATE TABLE dropped_letters (
    lane       text NOT NULL,
    id         text NOT NULL,
    code       text NOT NULL,
    source_id  text NOT NULL,
    reason     text NOT NULL,
    dropped_by text NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lane, id)
);

-- Weeks (Monday, UTC) that changed after they were over: results computed from them are stale.
CREATE TABLE stale_weeks (
    week      date PRIMARY KEY,
    marked_at timestamptz NOT NULL
);

-- A hypertable where TimescaleDB is installed, monthly partitions otherwise; the same statements run on both.
-- The key alone cannot be unique: both kinds want the time in every unique index. It need not be: the graph's ledger
-- decides what is stored, and an event's time is part of what it compares.
DO $$
DECLARE
    columns CONSTANT text := $c$
        key           text NOT NULL,
        time          timestamptz NOT NULL,
        digest        bigint NOT NULL,
        source        text NOT NULL,
        medium        text NOT NULL,
        actor         text NOT NULL,
        targets       text[] NOT NULL,
        target_count  smallint NOT NULL,
        scope         text NOT NULL,
        duration_s    integer NOT NULL,
        response_s    integer,
        tz_offset_min smallint,
        retracted_at  timestamptz,
        PRIMARY KEY (key, time)
    $c$;
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
        EXECUTE 'CREATE TABLE interactions (' || columns || ')';
        PERFORM create_hypertable('interactions', 'time', chunk_time_interval => interval '1 month');
    ELSE
        EXECUTE 'CREATE TABLE interactions (' || columns || ') PARTITION BY RANGE (time)';
    END IF;
END $$;
CREATE INDEX ix_interactions_actor_time ON interactions (actor, time);

-- Makes room for rows of these months. Does nothing on a hypertable, which makes its own.
CREATE FUNCTION ensure_interaction_months(first timestamptz, last timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    month timestamp := date_trunc('month', first AT TIME ZONE 'UTC');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'interactions'::regclass) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_interaction_months'));
    WHILE month <= last AT TIME ZONE 'UTC' LOOP
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I PARTITION OF interactions FOR VALUES FROM (%L) TO (%L)',
            'interactions_' || to_char(month, 'YYYYMM'),
            month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
        month := month + interval '1 month';
    END LOOP;
END $$;
