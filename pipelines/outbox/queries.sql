-- name: create
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);

-- name: put
INSERT INTO outbox (payload) VALUES (?);

-- name: next
SELECT id, payload FROM outbox ORDER BY id LIMIT ?;

-- name: done
DELETE FROM outbox WHERE id = ?;

-- name: count
SELECT count(*) FROM outbox;
