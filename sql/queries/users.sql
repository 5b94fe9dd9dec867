-- name: count
SELECT count(*) FROM users;

-- name: insert
INSERT INTO users (username, password_hash, role) VALUES ($1, $2, $3) RETURNING id;

-- name: by_username
SELECT id, username, password_hash, role FROM users WHERE lower(username) = lower($1) AND disabled_at IS NULL;

-- name: by_id
SELECT id, username, role FROM users WHERE id = $1 AND disabled_at IS NULL;

-- name: first_admin
SELECT id, username, role FROM users WHERE role = 'admin' AND disabled_at IS NULL ORDER BY created_at, id LIMIT 1;

-- name: insert_refresh_token
INSERT INTO refresh_tokens (token_hash, user_id, family_id, expires_at) VALUES ($1, $2, $3, $4);

-- name: lock_refresh_token
SELECT user_id, family_id, expires_at, replaced_at FROM refresh_tokens WHERE token_hash = $1 FOR UPDATE;

-- name: replace_refresh_token
UPDATE refresh_tokens SET replaced_at = now() WHERE token_hash = $1 AND replaced_at IS NULL;

-- name: revoke_family
DELETE FROM refresh_tokens WHERE family_id = $1;

-- name: delete_expired_refresh_tokens
DELETE FROM refresh_tokens WHERE expires_at < now();
