-- Proposals, decisions, the kill switch and the audit log. Whoever writes holds the lock of `one_at_a_time`, first of all.

-- One writer at a time: the chain of the audit log has one end, and a halt is complete when it returns.
-- name: one_at_a_time
SELECT pg_advisory_xact_lock(hashtext('organism interventions'));

-- name: one_moment
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: halted
SELECT reason, by, at FROM interventions_switch WHERE halted;

-- name: switch
INSERT INTO interventions_switch (halted, reason, by, at) VALUES (%(halted)s, %(reason)s, %(by)s, %(at)s)
ON CONFLICT (only_row) DO UPDATE SET halted = excluded.halted, reason = excluded.reason, by = excluded.by, at = excluded.at;

-- name: get
SELECT body, state, changed_at, prev_hash, hash,
       (SELECT coalesce(json_agg(json_build_array(d.role, d.decision, d.reason, d.at, d.via, d.by, d.account) ORDER BY d.at, d.by), '[]')
        FROM proposal_decisions d WHERE d.proposal = p.id AND d.version = p.version)
FROM proposals p WHERE p.id = %(id)s;

-- name: list
SELECT body, state, changed_at, prev_hash, hash,
       (SELECT coalesce(json_agg(json_build_array(d.role, d.decision, d.reason, d.at, d.via, d.by, d.account) ORDER BY d.at, d.by), '[]')
        FROM proposal_decisions d WHERE d.proposal = p.id AND d.version = p.version)
FROM proposals p WHERE p.state = ANY (%(states)s)
ORDER BY p.created_at, p.id;

-- Open, or ended since.
-- name: standing
SELECT body, state, changed_at, prev_hash, hash,
       (SELECT coalesce(json_agg(json_build_array(d.role, d.decision, d.reason, d.at, d.via, d.by, d.account) ORDER BY d.at, d.by), '[]')
        FROM proposal_decisions d WHERE d.proposal = p.id AND d.version = p.version)
FROM proposals p WHERE p.state = ANY (%(open)s) OR p.changed_at >= %(since)s
ORDER BY p.created_at, p.id;

-- Who took them back is only in the log: a run withdraws as well, and what it withdraws may come again.
-- name: taken_back
SELECT DISTINCT subject FROM audit_log WHERE action = 'withdrawn' AND role = 'operator' AND at >= %(since)s;

-- name: insert
INSERT INTO proposals (id, version, state, template_id, target_kind, target_key, target_size, metric, run, window_end,
                       created_at, changed_at, expires_at, body, prev_hash, hash)
VALUES (%(id)s, %(version)s, %(state)s, %(template_id)s, %(target_kind)s, %(target_key)s, %(target_size)s, %(metric)s,
        %(run)s, %(window_end)s, %(created_at)s, %(changed_at)s, %(expires_at)s, %(body)s, %(prev_hash)s, %(hash)s);

-- Compare and set: only the version and state that the change was decided on.
-- name: revise
UPDATE proposals
SET version = %(version)s, state = %(state)s, template_id = %(template_id)s, target_size = %(target_size)s, run = %(run)s,
    window_end = %(window_end)s, created_at = %(created_at)s, changed_at = %(changed_at)s, expires_at = %(expires_at)s,
    body = %(body)s, prev_hash = %(prev_hash)s, hash = %(hash)s
WHERE id = %(id)s AND version = %(old_version)s AND state = %(old_state)s;

-- name: set_state
UPDATE proposals
SET state = %(state)s, changed_at = %(changed_at)s, expires_at = %(expires_at)s, prev_hash = %(prev_hash)s, hash = %(hash)s
WHERE id = %(id)s AND version = %(version)s AND state = %(old_state)s;

-- name: add_decision
INSERT INTO proposal_decisions (proposal, version, role, decision, reason, at, via, by, account)
VALUES (%(proposal)s, %(version)s, %(role)s, %(decision)s, %(reason)s, %(at)s, %(via)s, %(by)s, %(account)s);

-- name: audit_head
SELECT seq, hash, mac FROM audit_head;

-- name: append_audit
INSERT INTO audit_log (seq, at, role, who, action, subject, version, detail, prev_hash, hash)
VALUES (%(seq)s, %(at)s, %(role)s, %(who)s, %(action)s, %(subject)s, %(version)s, %(detail)s, %(prev_hash)s, %(hash)s);

-- name: move_audit_head
INSERT INTO audit_head (seq, hash, mac) VALUES (%(seq)s, %(hash)s, %(mac)s)
ON CONFLICT (only_row) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, mac = excluded.mac;

-- name: last_rules
SELECT detail FROM audit_log WHERE subject = 'rules' ORDER BY seq DESC LIMIT 1;

-- name: audit_rows
SELECT seq, at, role, who, action, subject, version, detail, prev_hash, hash FROM audit_log ORDER BY seq;

-- name: proposals_as_they_are
SELECT body, id, version, state, hash, prev_hash, changed_at, expires_at, template_id, target_kind, target_key, target_size,
       metric, run, window_end, created_at
FROM proposals;

-- name: decisions_as_they_are
SELECT proposal, version, by, decision, reason, at, role, via, account FROM proposal_decisions;

-- name: switch_as_it_is
SELECT halted, reason, by, at FROM interventions_switch;
