-- What the full analysis leaves behind: points, findings, normal bands, and each step's result.

-- The order of the key is the order of the reads (one view of one kind over a time) and keeps the rows of one series
-- together in the index, so that a run writes at few places. "C" collation: names sort alike on every server.
-- A hypertable where TimescaleDB is installed, monthly partitions otherwise; the same statements run on both.
DO $$
DECLARE
    columns CONSTANT text := $c$
        time         timestamptz NOT NULL,
        subject_kind text COLLATE "C" NOT NULL CHECK (subject_kind IN ('person', 'team', 'team_pair', 'org')),
        subject      text COLLATE "C" NOT NULL,
        view         text COLLATE "C" NOT NULL,
        view_version integer NOT NULL,
        value        double precision NOT NULL CHECK (value > '-Infinity' AND value < 'Infinity'),
        people       integer NOT NULL CHECK (people >= 0),
        run          text NOT NULL,
        PRIMARY KEY (view, subject_kind, time, subject, view_version)
    $c$;
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        EXECUTE 'CREATE TABLE points (' || columns || ')';
        PERFORM create_hypertable('points', 'time', chunk_time_interval => interval '1 month',
                                  create_default_indexes => false);
    ELSE
        EXECUTE 'CREATE TABLE points (' || columns || ') PARTITION BY RANGE (time)';
    END IF;
END $$;

-- Makes room for points of a month. Does nothing on a hypertable, which makes its own. The new table is attached, not
-- created as a partition: that way who reads meanwhile does not wait until the writer commits.
CREATE FUNCTION ensure_points_month(at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    month timestamp := date_trunc('month', at AT TIME ZONE 'UTC');
    part  text := 'points_' || to_char(month, 'YYYYMM');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'points'::regclass) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_points_month'));
    IF to_regclass(part) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE points INCLUDING ALL)', part);
        EXECUTE format('ALTER TABLE points ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       part, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
    END IF;
END $$;

-- Drops the months (chunks of a hypertable) that lie wholly before a time; how many.
CREATE FUNCTION retire_points(before timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    part    regclass;
    dropped integer := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'points'::regclass) THEN
        RETURN (SELECT count(*) FROM drop_chunks('points', older_than => before));
    END IF;
    FOR part IN
        SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'points'::regclass
          AND (to_date(right(relname, 6), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' <= before
    LOOP
        EXECUTE format('DROP TABLE %s', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- Whose points have to go: noted in the transaction that excludes them, so that no writer can forget it, and done by the next
-- one of points, because it means to look at all of them.
CREATE TABLE points_to_erase (
    person text COLLATE "C" PRIMARY KEY
);
CREATE FUNCTION note_points_to_erase() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO points_to_erase (person) SELECT person FROM fresh ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER exclusion_erases_points AFTER INSERT ON exclusions
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note_points_to_erase();

-- Weekly means of groups (weeks begin on Monday, UTC), with the fewest people behind a value: what privacy decides by.
-- A continuous aggregate, compression and a retention job need TimescaleDB under its own licence. Without it the same
-- view is computed when it is read, and retire_points is what ends old points.
DO $$
DECLARE
    licence CONSTANT text := (
        SELECT current_setting('timescaledb.license', true) FROM pg_extension WHERE extname = 'timescaledb');
    weekly CONSTANT text := $v$
        AS SELECT %s AS week, view, view_version, subject_kind, subject, avg(value) AS value, min(value) AS low,
                  max(value) AS high, count(*) AS n, min(people) AS people
        FROM points WHERE subject_kind IN ('team', 'team_pair', 'org')
        GROUP BY 1, 2, 3, 4, 5
    $v$;
BEGIN
    IF licence IS DISTINCT FROM 'timescale' THEN
        IF licence IS NOT NULL THEN
            RAISE NOTICE 'TimescaleDB without the Timescale licence: no compression, no weekly aggregate, no retention job';
        END IF;
        EXECUTE 'CREATE VIEW points_weekly '
            || format(weekly, $b$date_bin(interval '7 days', time, timestamptz '2000-01-03 00:00+00')$b$);
        RETURN;
    END IF;
    EXECUTE 'CREATE MATERIALIZED VIEW points_weekly'
        || ' WITH (timescaledb.continuous, timescaledb.materialized_only = false) '
        || format(weekly, $b$time_bucket(interval '7 days', time)$b$) || ' WITH NO DATA';
    -- A run writes the weeks of the last half year anew; what is older rests, and is compressed after that.
    PERFORM add_continuous_aggregate_policy('points_weekly', start_offset => interval '210 days',
        end_offset => interval '1 hour', schedule_interval => interval '6 hours');
    -- These names are known to every TimescaleDB 2; those with "columnstore" only from 2.18 on.
    ALTER TABLE points SET (timescaledb.compress, timescaledb.compress_segmentby = 'view, subject_kind, view_version',
                            timescaledb.compress_orderby = 'subject, time');
    PERFORM add_compression_policy('points', interval '210 days');
    -- Twice what the archive keeps by default; retire_points with less may run besides.
    PERFORM add_retention_policy('points', interval '800 days');
END $$;

-- `body` is the whole finding; the other columns are read out of it by the server, so that they cannot differ from it.
-- No finding and no band is about a person.
CREATE TABLE findings (
    id           text PRIMARY KEY,
    run          text NOT NULL,
    body         jsonb NOT NULL,
    question     text NOT NULL GENERATED ALWAYS AS (body ->> 'question') STORED,
    treatment    text NOT NULL GENERATED ALWAYS AS (body ->> 'treatment') STORED,
    outcome      text NOT NULL GENERATED ALWAYS AS (body ->> 'outcome') STORED,
    lag_weeks    integer NOT NULL GENERATED ALWAYS AS ((body ->> 'lag_weeks')::integer) STORED,
    subject_kind text NOT NULL GENERATED ALWAYS AS (body ->> 'subject_kind') STORED
                 CHECK (subject_kind IN ('team', 'team_pair', 'org')),
    subject      text NOT NULL GENERATED ALWAYS AS (body ->> 'subject') STORED,
    people       integer NOT NULL GENERATED ALWAYS AS ((body ->> 'people')::integer) STORED,
    periods      integer NOT NULL GENERATED ALWAYS AS ((body ->> 'periods')::integer) STORED,
    status       text NOT NULL GENERATED ALWAYS AS (body ->> 'status') STORED,
    effect       double precision GENERATED ALWAYS AS ((body #>> '{estimate,effect}')::double precision) STORED,
    ci_low       double precision GENERATED ALWAYS AS ((body #>> '{estimate,ci_low}')::double precision) STORED,
    ci_high      double precision GENERATED ALWAYS AS ((body #>> '{estimate,ci_high}')::double precision) STORED,
    q_bh         double precision GENERATED ALWAYS AS ((body ->> 'q_bh')::double precision) STORED,
    mde          double precision GENERATED ALWAYS AS ((body ->> 'mde')::double precision) STORED,
    data_version text NOT NULL GENERATED ALWAYS AS (body ->> 'data_version') STORED
);
CREATE INDEX ix_findings_question ON findings (question, subject_kind, subject);

-- A second run of the same window comes to the same findings: they stay as they are, and are the second run's as well.
CREATE TABLE finding_runs (
    run      text NOT NULL,
    position integer NOT NULL,
    finding  text NOT NULL REFERENCES findings,
    PRIMARY KEY (run, position)
);

CREATE TABLE baselines (
    subject_kind text COLLATE "C" NOT NULL CHECK (subject_kind IN ('team', 'team_pair', 'org')),
    subject      text COLLATE "C" NOT NULL,
    view         text COLLATE "C" NOT NULL,
    view_version integer NOT NULL,
    low          double precision NOT NULL,
    high         double precision NOT NULL CHECK (high >= low),
    people       integer NOT NULL,
    weeks        integer NOT NULL,
    from_week    date NOT NULL,
    to_week      date NOT NULL,
    run          text NOT NULL,
    PRIMARY KEY (view, subject_kind, subject, view_version, to_week)
);

-- What one step hands to the next, so that a run can be taken up where it stopped.
CREATE TABLE step_results (
    run     text NOT NULL,
    step    text NOT NULL,
    done_at timestamptz NOT NULL,
    counts  jsonb NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (run, step)
);
CREATE INDEX ix_step_results_done ON step_results (done_at);
