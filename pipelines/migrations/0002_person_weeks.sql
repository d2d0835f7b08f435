-- What each week was like for each person, and which weeks are computed by which definitions.

-- One row a person and week of their own clock (Monday); NULL: not known, see metrics.load.MEANINGS for each column.
-- real is plenty: no measure is good to seven digits.
CREATE TABLE person_weeks (
    week              date NOT NULL,
    person            text COLLATE "C" NOT NULL,
    team              text,
    working_days      smallint NOT NULL,
    sent              integer NOT NULL,
    received          integer NOT NULL,
    meeting_h         real NOT NULL,
    after_hours_share real,
    weekend_share     real,
    short_rests       smallint,
    span_h            real,
    focus_blocks      real,
    fragmentation     real NOT NULL,
    response_load     real NOT NULL,
    response_h        real,
    network_size      integer NOT NULL,
    strain            real CHECK (strain BETWEEN 0 AND 100),
    strain_parts      jsonb,
    PRIMARY KEY (week, person),
    CHECK (extract(isodow FROM week) = 1)
);

-- revision: of two writers who read the same one, only the first writes. final: computed when the UTC week after it was
-- over too; until then something of its last hours (clocks west of UTC) can come without a mark in stale_weeks.
-- strain_due: a week of its baseline was computed again since.
CREATE TABLE computed_weeks (
    week         date PRIMARY KEY,
    version      integer NOT NULL,
    revision     bigint NOT NULL,
    computed_at  timestamptz NOT NULL,
    final        boolean NOT NULL,
    strain_due   boolean NOT NULL,
    people       integer NOT NULL,
    interactions bigint NOT NULL
);

-- For reads of one week. A hypertable has such an index already.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'interactions'::regclass) THEN
        CREATE INDEX ix_interactions_time ON interactions (time);
    END IF;
END $$;

-- A late interaction marks its week. These mark the weeks that the rest changes after they were computed; as triggers, so
-- that no writer can forget it, and in the writer's own transaction, so that no reader can see the one without the other.
CREATE FUNCTION mark_weeks_of_retractions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stale_weeks (week, marked_at)
    SELECT DISTINCT date_trunc('week', i.time AT TIME ZONE 'UTC')::date, now()
    FROM fresh f JOIN interactions i ON i.key = f.target_key
    WHERE i.time < date_trunc('week', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
    ON CONFLICT (week) DO UPDATE SET marked_at = excluded.marked_at;
    RETURN NULL;
END $$;
CREATE TRIGGER retraction_marks_weeks AFTER INSERT ON retractions
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION mark_weeks_of_retractions();

-- Only a change that says something new: a roster that is sent again whole changes nothing. A week of the westernmost clock
-- ends 12 hours after the same week in UTC.
CREATE FUNCTION mark_weeks_of_roster() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stale_weeks (week, marked_at)
    SELECT c.week, now() FROM computed_weeks c
    WHERE (c.week + interval '7 days 12 hours') AT TIME ZONE 'UTC' > (
        SELECT min(f.time) FROM fresh f
        WHERE (f.kind = 'left', coalesce(f.team, ''), coalesce(f.tz, '')) IS DISTINCT FROM (
            SELECT (h.kind = 'left', coalesce(h.team, ''), coalesce(h.tz, '')) FROM roster_history h
            WHERE h.person = f.person AND h.key <> f.key AND h.time <= f.time ORDER BY h.time DESC, h.key DESC LIMIT 1))
    ON CONFLICT (week) DO UPDATE SET marked_at = excluded.marked_at;
    RETURN NULL;
END $$;
CREATE TRIGGER roster_marks_weeks AFTER INSERT ON roster_history
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION mark_weeks_of_roster();

-- Who is excluded or erased has no row from that moment on; what they were to others is counted again without them.
CREATE FUNCTION drop_weeks_of_excluded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stale_weeks (week, marked_at)
    SELECT DISTINCT w.week, now() FROM person_weeks w JOIN fresh f USING (person)
    ON CONFLICT (week) DO UPDATE SET marked_at = excluded.marked_at;
    DELETE FROM person_weeks w USING fresh f WHERE w.person = f.person;
    RETURN NULL;
END $$;
CREATE TRIGGER exclusion_drops_weeks AFTER INSERT ON exclusions
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION drop_weeks_of_excluded();
