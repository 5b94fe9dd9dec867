-- name: put
INSERT INTO thumbnails (asset_id, size, repository_id, width, height, bytes) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (asset_id, size) DO UPDATE
SET repository_id = excluded.repository_id, width = excluded.width, height = excluded.height, bytes = excluded.bytes,
    created_at = now();

-- name: find
SELECT t.repository_id, t.bytes, a.content_hash, a.state
FROM thumbnails AS t JOIN assets AS a ON a.id = t.asset_id
WHERE t.asset_id = $1 AND t.size = $2 AND a.owner_id = $3;
