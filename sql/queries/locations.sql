-- name: of_asset
SELECT id, asset_id, repository_id, path, state, trash_path FROM locations WHERE asset_id = $1 ORDER BY created_at, id;

-- name: of_assets
SELECT id, asset_id, repository_id, path, state, trash_path FROM locations WHERE asset_id = ANY ($1::uuid[])
ORDER BY created_at, id;

-- name: insert
INSERT INTO locations (asset_id, repository_id, path) VALUES ($1, $2, $3)
ON CONFLICT (repository_id, path) WHERE state = 'present' DO NOTHING
RETURNING id;

-- name: void_claim
DELETE FROM locations WHERE repository_id = $2 AND path = $3 AND state = 'present' AND asset_id <> $1;

-- name: displace
WITH displaced AS (
    UPDATE locations SET state = 'trashed', trashed_at = now(), trash_path = $3
    WHERE repository_id = $1 AND path = $2 AND state = 'present'
        AND NOT EXISTS (SELECT FROM assets AS a WHERE a.id = locations.asset_id AND a.content_hash = $4)
    RETURNING asset_id
)
UPDATE assets SET trashed_at = now(), updated_at = now()
FROM displaced
WHERE assets.id = displaced.asset_id AND assets.trashed_at IS NULL
    AND NOT EXISTS (
        SELECT FROM locations AS other
        WHERE other.asset_id = assets.id AND other.state = 'present'
            AND (other.repository_id, other.path) <> ($1, $2)
    );

-- name: put_trashed
-- An upsert: a newcomer that took the path in the meantime has removed the claim on it, but the bytes lie in the trash.
INSERT INTO locations (id, asset_id, repository_id, path, state, trashed_at, trash_path)
VALUES ($1, $2, $3, $4, 'trashed', now(), $5)
ON CONFLICT (id) DO UPDATE SET state = 'trashed', trashed_at = now(), trash_path = excluded.trash_path
WHERE locations.state = 'present';

-- name: mark_restored
UPDATE locations SET state = 'present', trashed_at = NULL, trash_path = NULL, path = $2
WHERE id = $1 AND state = 'trashed';

-- name: record_file
INSERT INTO file_records (repository_id, path, size, mtime_ns, device, inode) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (repository_id, path) DO UPDATE
SET size = excluded.size, mtime_ns = excluded.mtime_ns, device = excluded.device, inode = excluded.inode,
    recorded_at = now();

-- name: forget_file
DELETE FROM file_records WHERE repository_id = $1 AND path = $2
    AND NOT EXISTS (SELECT FROM locations WHERE repository_id = $1 AND path = $2 AND state = 'present');

-- name: forget
DELETE FROM locations WHERE id = $1;
