-- Proposals, what people decided, the kill switch, and the log that cannot be changed unnoticed.

CREATE TABLE proposals (
    id          text PRIMARY KEY,
    version     integer NOT NULL CHECK (version >= 1),
    state       text NOT NULL CHECK (state IN (
        'blocked', 'shadow', 'pending_approval', 'approved', 'rejected', 'expired', 'withdrawn', 'executing', 'executed',
        'failed', 'compensating', 'compensated', 'stuck', 'monitoring', 'improved', 'no_change', 'inconclusive', 'harmful')),
    template_id text NOT NULL,
    target_kind text NOT NULL CHECK (target_kind IN ('team', 'team_pair', 'org')),
    target_key  text NOT NULL,
    target_size integer NOT NULL CHECK (target_size >= 5),
    metric      text NOT NULL,
    run         text NOT NULL,
    window_end  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL,
    expires_at  timestamptz,
    body        text NOT NULL,  -- the version as it was proposed, in canonical JSON: its digest is in the audit log
    prev_hash   text NOT NULL,
    hash        text NOT NULL
);
-- Two runs cannot propose the same thing twice: one open proposal about a metric of a group.
CREATE UNIQUE INDEX ux_proposals_open ON proposals (target_kind, target_key, metric) WHERE state IN (
    'blocked', 'shadow', 'pending_approval', 'approved', 'executing', 'executed', 'failed', 'compensating', 'stuck',
    'monitoring');

-- `by` is an operator's own name, as given: who decides about others answers for it.
CREATE TABLE proposal_decisions (
    proposal text NOT NULL,
    version  integer NOT NULL,
    role     text NOT NULL,
    decision text NOT NULL CHECK (decision IN ('approve', 'reject')),
    reason   text NOT NULL,
    at       timestamptz NOT NULL,
    via      text NOT NULL,
    by       text NOT NULL,
    PRIMARY KEY (proposal, version, by)
);

-- No row: not halted.
CREATE TABLE interventions_switch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    halted   boolean NOT NULL,
    reason   text NOT NULL,
    by       text NOT NULL,
    at       timestamptz NOT NULL
);

-- `detail` is text and not jsonb: the hash is over its bytes.
CREATE TABLE audit_log (
    seq       bigint PRIMARY KEY,
    at        timestamptz NOT NULL,
    role      text NOT NULL,
    who       text NOT NULL,
    action    text NOT NULL,
    subject   text NOT NULL,
    version   integer NOT NULL,
    detail    text NOT NULL,
    prev_hash text NOT NULL,
    hash      text NOT NULL
);
CREATE INDEX ix_audit_subject ON audit_log (subject, seq);

CREATE TABLE audit_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq      bigint NOT NULL,
    hash     text NOT NULL,
    mac      text NOT NULL
);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
