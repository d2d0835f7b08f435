-- Users and what proves them. Who may be let in is said in the statements, so that a change holds for the next request.

-- One row whatever is asked for, of the same columns and after two looks into an index: an unknown id costs what a known one
-- does. '-' is nobody's name. The roles are those of the owner at this moment, and those of the credential.
-- name: presented
SELECT coalesce(c.secret_digest, %(decoy)s),
       coalesce(c.revoked_at IS NULL AND c.expires_at > %(now)s::timestamptz AND u.disabled_at IS NULL, false),
       coalesce(c.last_used_at <= %(now)s::timestamptz - %(fresh)s::interval, true),
       coalesce(u.name, ''),
       coalesce(c.kind, 'token'),
       coalesce(c.expires_at, %(now)s::timestamptz),
       coalesce(u.roles, '{viewer}'),
       coalesce(c.roles, u.roles, '{viewer}')
FROM (VALUES (%(id)s::text COLLATE "C")) asked (id)
LEFT JOIN credentials c ON c.id = asked.id
LEFT JOIN users u ON u.name = coalesce(c.owner, '-');

-- Whoever is writing to the row at this moment notes a use as well: nobody waits for it.
-- name: note_use
UPDATE credentials SET last_used_at = %(now)s WHERE id IN (
    SELECT id FROM credentials WHERE id = %(id)s
       AND (last_used_at IS NULL OR last_used_at <= %(now)s::timestamptz - %(fresh)s::interval)
    FOR UPDATE SKIP LOCKED);

-- name: password_of
SELECT password_hash, disabled_at IS NULL FROM users WHERE name = %(user)s;

-- Still the password that was checked, and still let in: both may have changed while it was hashed.
-- name: hold_user
SELECT roles FROM users WHERE name = %(user)s AND password_hash = %(checked)s AND disabled_at IS NULL FOR UPDATE;

-- name: rehash
UPDATE users SET password_hash = %(hash)s WHERE name = %(user)s;

-- name: issue
INSERT INTO credentials (id, kind, owner, roles, secret_digest, created_at, expires_at, label, replaces)
VALUES (%(id)s, %(kind)s, %(owner)s, %(roles)s, %(digest)s, %(now)s, %(expires_at)s, %(label)s, %(replaces)s);

-- name: tidy
DELETE FROM credentials WHERE id IN (
    SELECT id FROM credentials WHERE kind = 'token' AND expires_at < %(now)s LIMIT 1000 FOR UPDATE SKIP LOCKED)
RETURNING id;

-- name: create_user
INSERT INTO users (name, password_hash, roles, created_at) VALUES (%(user)s, %(hash)s, %(roles)s, %(now)s)
ON CONFLICT DO NOTHING RETURNING name, roles, created_at, disabled_at;

-- name: users
SELECT name, roles, created_at, disabled_at FROM users ORDER BY name;

-- name: user
SELECT name, roles, created_at, disabled_at FROM users WHERE name = %(user)s;

-- Held before any row of theirs in `credentials`, by everybody in this order.
-- name: hold_owner
SELECT name FROM users WHERE name = %(user)s FOR UPDATE;

-- name: set_roles
UPDATE users SET roles = %(roles)s WHERE name = %(user)s RETURNING name, roles, created_at, disabled_at;

-- name: set_password
UPDATE users SET password_hash = %(hash)s WHERE name = %(user)s RETURNING name, roles, created_at, disabled_at;

-- name: disable
UPDATE users SET disabled_at = coalesce(disabled_at, %(now)s) WHERE name = %(user)s
RETURNING name, roles, created_at, disabled_at;

-- name: enable
UPDATE users SET disabled_at = NULL WHERE name = %(user)s RETURNING name, roles, created_at, disabled_at;

-- name: revoke_of
UPDATE credentials SET revoked_at = %(now)s
WHERE owner = %(owner)s AND revoked_at IS NULL AND kind = ANY (%(kinds)s);

-- name: credentials
SELECT id, kind, owner, roles, created_at, expires_at, revoked_at, last_used_at, label, replaces
FROM credentials WHERE %(kind)s::text IS NULL OR kind = %(kind)s::text ORDER BY owner, created_at, id;

-- name: credential
SELECT id, kind, owner, roles, created_at, expires_at, revoked_at, last_used_at, label, replaces
FROM credentials WHERE id = %(id)s;

-- name: successor
SELECT id FROM credentials WHERE replaces = %(id)s;

-- name: end_by
UPDATE credentials SET expires_at = least(expires_at, %(at)s) WHERE id = %(id)s;

-- name: revoke
UPDATE credentials SET revoked_at = coalesce(revoked_at, %(now)s) WHERE id = %(id)s RETURNING id;
