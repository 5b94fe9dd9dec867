-- name: lock_asset
-- One change of an asset's sidecars at a time: its facts are derived from all of them.
SELECT id FROM assets WHERE id = $1 AND owner_id = $2 FOR UPDATE;

-- name: is_kept
SELECT EXISTS (SELECT FROM sidecars WHERE asset_id = $1 AND kind = $2 AND file_name = $3 AND content = $4);

-- name: put
INSERT INTO sidecars (asset_id, kind, file_name, content, tags) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (asset_id, kind) DO UPDATE
SET file_name = excluded.file_name, content = excluded.content, tags = excluded.tags, updated_at = now();

-- name: remove
DELETE FROM sidecars WHERE asset_id = $1 AND kind = $2;

-- name: find
SELECT s.file_name, s.content
FROM sidecars AS s JOIN assets AS a ON a.id = s.asset_id
WHERE s.asset_id = $1 AND s.kind = $2 AND a.owner_id = $3;
