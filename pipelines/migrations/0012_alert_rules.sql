-- What operators set for the alerts of a flow. The newest version of a flow and code is in force; the others say who had set
-- what until when. The same table as in alerts/tables.py; a test holds the two equal.

CREATE TABLE alert_rules (
    flow        text NOT NULL,
    code        text NOT NULL,
    version     integer NOT NULL CHECK (version >= 1),
    cleared     boolean NOT NULL,  -- the defaults hold again
    enabled     boolean NOT NULL,
    threshold   double precision,  -- in the unit of the code; null: the default
    severity    text CHECK (severity IN ('info', 'warning', 'critical')),  -- null: as the rule says
    muted_until timestamptz,
    note        text NOT NULL,
    set_by      text NOT NULL,
    set_at      timestamptz NOT NULL,
    PRIMARY KEY (flow, code, version)
);
