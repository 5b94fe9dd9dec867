-- name: put
INSERT INTO web_versions (asset_id, repository_id, mime, made_by, encoder, width, height, bytes)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (asset_id) DO UPDATE
SET repository_id = excluded.repository_id, mime = excluded.mime, made_by = excluded.made_by,
    encoder = excluded.encoder, width = excluded.width, height = excluded.height, bytes = excluded.bytes,
    created_at = now();

-- name: find
SELECT repository_id, mime, bytes FROM web_versions WHERE asset_id = $1;

-- name: forget
DELETE FROM web_versions WHERE asset_id = $1;
