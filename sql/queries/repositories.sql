-- name: insert
INSERT INTO repositories (id, owner_id, name, root, is_default) VALUES ($1, $2, $3, $4, $5);

-- name: all
SELECT id, owner_id, name, root, is_default FROM repositories ORDER BY created_at, id;

-- name: set_root
UPDATE repositories SET root = $2 WHERE id = $1;
