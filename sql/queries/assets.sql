-- name: by_hash
SELECT id, state, trashed_at FROM assets WHERE owner_id = $1 AND content_hash = $2;

-- name: known_files
SELECT content_hash, id, size, trashed_at IS NOT NULL AS trashed
FROM assets
WHERE owner_id = $1 AND content_hash = ANY ($2::bytea[]);

-- name: insert
INSERT INTO assets (
    owner_id, content_hash, file_name, size, kind, format, mime, state, width, height, orientation, make, model, lens,
    iso, f_number, exposure_time, focal_length, duration, captured_local, captured_offset, captured_source, latitude,
    longitude, altitude, exif
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
    $26
)
ON CONFLICT (owner_id, content_hash) DO NOTHING
RETURNING id;

-- name: set_state
UPDATE assets SET state = $2, width = coalesce($3, width), height = coalesce($4, height), updated_at = now()
WHERE id = $1;

-- name: get
SELECT
    a.id, a.owner_id, a.content_hash, a.file_name, a.size, a.kind, a.format, a.mime, a.state, a.width, a.height,
    a.orientation, a.make, a.model, a.lens, a.iso, a.f_number, a.exposure_time, a.focal_length, a.duration,
    a.captured_local, a.captured_offset, a.captured_source, a.latitude, a.longitude, a.altitude, a.exif, a.created_at,
    a.updated_at, a.trashed_at,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('size', t.size, 'width', t.width, 'height', t.height) ORDER BY t.size), '[]')
     FROM thumbnails AS t WHERE t.asset_id = a.id) AS thumbnails,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'title', b.title) ORDER BY b.title), '[]')
     FROM album_assets AS ba JOIN albums AS b ON b.id = ba.album_id WHERE ba.asset_id = a.id) AS albums,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('name', g.name, 'source', ag.source) ORDER BY g.name), '[]')
     FROM asset_tags AS ag JOIN tags AS g ON g.id = ag.tag_id WHERE ag.asset_id = a.id) AS tags,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('step', p.step, 'code', p.code, 'reason', p.reason) ORDER BY p.step), '[]')
     FROM problems AS p WHERE p.asset_id = a.id) AS problems
FROM assets AS a
WHERE a.id = $1 AND a.owner_id = $2;

-- name: page_captured_desc
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, captured_local, captured_offset,
    created_at, captured_local AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND (captured_local, id) < ($2, $3)
ORDER BY captured_local DESC, id DESC
LIMIT $4;

-- name: page_captured_desc_of_kind
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, captured_local, captured_offset,
    created_at, captured_local AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND (captured_local, id) < ($2, $3) AND kind = $5
ORDER BY captured_local DESC, id DESC
LIMIT $4;

-- name: page_captured_asc
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, captured_local, captured_offset,
    created_at, captured_local AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND (captured_local, id) > ($2, $3)
ORDER BY captured_local, id
LIMIT $4;

-- name: page_captured_asc_of_kind
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, captured_local, captured_offset,
    created_at, captured_local AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND (captured_local, id) > ($2, $3) AND kind = $5
ORDER BY captured_local, id
LIMIT $4;

-- name: page_added_desc
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, captured_local, captured_offset,
    created_at, created_at AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC
LIMIT $4;

-- name: page_added_desc_of_kind
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, captured_local, captured_offset,
    created_at, created_at AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND (created_at, id) < ($2, $3) AND kind = $5
ORDER BY created_at DESC, id DESC
LIMIT $4;

-- name: page_added_asc
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, captured_local, captured_offset,
    created_at, created_at AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND (created_at, id) > ($2, $3)
ORDER BY created_at, id
LIMIT $4;

-- name: page_added_asc_of_kind
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, captured_local, captured_offset,
    created_at, created_at AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND (created_at, id) > ($2, $3) AND kind = $5
ORDER BY created_at, id
LIMIT $4;

-- name: set_trashed
UPDATE assets SET trashed_at = now(), updated_at = now() WHERE id = $1 AND owner_id = $2 AND trashed_at IS NULL;

-- name: clear_trashed
UPDATE assets SET trashed_at = NULL, updated_at = now() WHERE id = $1 AND owner_id = $2 AND trashed_at IS NOT NULL;

-- name: is_trashed
SELECT trashed_at IS NOT NULL FROM assets WHERE id = $1;

-- name: for_rendering
SELECT id, content_hash, size, kind, format, mime FROM assets WHERE id = $1;

-- name: problems_of
SELECT step, code, reason FROM problems WHERE asset_id = $1 ORDER BY step;

-- name: clear_problem
DELETE FROM problems WHERE asset_id = $1 AND step = $2;

-- name: record_problem
INSERT INTO problems (asset_id, step, code, reason) VALUES ($1, $2, $3, $4)
ON CONFLICT (asset_id, step) DO UPDATE SET code = excluded.code, reason = excluded.reason, created_at = now();
