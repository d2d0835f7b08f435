-- Who may use the API: users, and the keys and tokens that prove who asks. Neither a password nor a secret is kept.

CREATE TABLE users (
    name          text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$'),  -- hence case-folded
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    roles         text[] NOT NULL
                  CHECK (cardinality(roles) > 0 AND roles <@ ARRAY['viewer', 'analyst', 'approver', 'operator', 'admin']),
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz
);

CREATE TABLE credentials (
    id            text COLLATE "C" PRIMARY KEY,
    kind          text NOT NULL CHECK (kind IN ('key', 'token')),
    owner         text COLLATE "C" NOT NULL REFERENCES users,
    roles         text[]  -- NULL: all that its owner has at the time
                  CHECK (cardinality(roles) > 0 AND roles <@ ARRAY['viewer', 'analyst', 'approver', 'operator', 'admin']),
    secret_digest bytea NOT NULL CHECK (length(secret_digest) = 32),  -- SHA-256
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    revoked_at    timestamptz,
    last_used_at  timestamptz,
    label         text NOT NULL,
    replaces      text COLLATE "C" UNIQUE  -- the key that this one took over from: of one key there is one successor
);
-- last_used_at is in no index, so that noting a use is an update of the row alone.
CREATE INDEX ix_credentials_owner ON credentials (owner);
CREATE INDEX ix_credentials_tokens ON credentials (expires_at) WHERE kind = 'token';
