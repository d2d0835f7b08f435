-- What is wrong or was, whom it was told, and what has still to be told. The same tables as in alerts/store.py, which makes
-- them in SQLite while this database is away; a test holds the two equal.

CREATE TABLE alert_incidents (
    id              text PRIMARY KEY,
    key             text NOT NULL,  -- code and subject; several may be open where two machines could not see each other
    code            text NOT NULL,
    severity        text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    problem         jsonb NOT NULL,  -- as last seen
    opened_at       timestamptz NOT NULL,
    seen_at         timestamptz NOT NULL,
    count           integer NOT NULL CHECK (count >= 1),
    escalated_at    timestamptz,
    recovered_at    timestamptz,
    told_at         timestamptz,
    changes         integer NOT NULL,  -- that were told; numbers the deliveries
    told_digest     text NOT NULL,  -- of the words that were told last
    reopened        integer NOT NULL,
    calm_since      timestamptz,
    absorbed        jsonb NOT NULL,  -- what this incident explains and is therefore not told of its own
    acknowledged_at timestamptz,
    acknowledged_by text,
    changed_at      timestamptz NOT NULL
);
CREATE INDEX ix_alert_incidents_recovered ON alert_incidents (recovered_at);

CREATE TABLE alert_deliveries (
    id            text PRIMARY KEY,
    incident      text NOT NULL REFERENCES alert_incidents (id) ON DELETE CASCADE,
    seq           integer NOT NULL,
    channel       text NOT NULL,
    change        text NOT NULL CHECK (change IN ('opened', 'updated', 'escalated', 'recovered', 'test')),
    snapshot      jsonb NOT NULL,  -- the incident when this was decided
    status        text NOT NULL CHECK (status IN ('pending', 'sent', 'dead', 'replaced', 'summarised')),
    summary       boolean NOT NULL,  -- speaks for messages over the hourly limit
    attempts      integer NOT NULL,
    unsure        integer NOT NULL,  -- sends of which nobody knows how they ended: the process died
    created_at    timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    give_up_at    timestamptz NOT NULL,
    claimed_until timestamptz,
    claimed_by    text,
    sent_at       timestamptz,
    error         text
);
CREATE INDEX ix_alert_deliveries_due ON alert_deliveries (status, due_at);
CREATE INDEX ix_alert_deliveries_queue ON alert_deliveries (incident, channel, seq);
CREATE INDEX ix_alert_deliveries_sent ON alert_deliveries (channel, sent_at);

CREATE TABLE alert_threads (
    incident text NOT NULL REFERENCES alert_incidents (id) ON DELETE CASCADE,
    channel  text NOT NULL,
    thread   text NOT NULL,
    PRIMARY KEY (incident, channel)
);
