-- The login that a decision was made under, beside the name that was given: two names of one login are not two people.
ALTER TABLE proposal_decisions ADD COLUMN account text NOT NULL DEFAULT '';
UPDATE proposal_decisions d SET account = coalesce((
    SELECT l.detail::jsonb ->> 'account' FROM audit_log l
    WHERE l.subject = d.proposal AND l.version = d.version AND l.who = d.by AND l.detail::jsonb ? 'decision'
    ORDER BY l.seq LIMIT 1), '');
