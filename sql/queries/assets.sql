-- name: by_hash
SELECT id, state, trashed_at FROM assets WHERE owner_id = $1 AND content_hash = $2;

-- name: known_files
SELECT content_hash, id, size, trashed_at IS NOT NULL AS trashed
FROM assets
WHERE owner_id = $1 AND content_hash = ANY ($2::bytea[]);

-- name: insert
INSERT INTO assets (
    owner_id, content_hash, file_name, size, kind, format, mime, state, exif, width, height, orientation, make, model,
    lens, iso, f_number, exposure_time, focal_length, duration, captured_local, captured_offset, captured_source,
    captured_offset_source, captured_confidence, captured_zone, latitude, longitude, altitude, title, description,
    rating, people, country_code, country, region, city, content_identifier, motion_offset, motion_bytes
)
SELECT
    $1, $2, $3, $4, $5, $6, $7, $8, $9, f.width, f.height, f.orientation, f.make, f.model, f.lens, f.iso, f.f_number,
    f.exposure_time, f.focal_length, f.duration, f.captured_local, f.captured_offset, f.captured_source,
    f.captured_offset_source, f.captured_confidence, f.captured_zone, f.latitude, f.longitude, f.altitude, f.title,
    f.description, f.rating, f.people, f.country_code, f.country, f.region, f.city, f.content_identifier,
    f.motion_offset, f.motion_bytes
FROM jsonb_populate_record(NULL::assets, $10) AS f
ON CONFLICT (owner_id, content_hash) DO NOTHING
RETURNING id;

-- name: set_state
UPDATE assets SET state = $2, updated_at = now() WHERE id = $1;

-- name: get
SELECT
    a.id, a.owner_id, a.content_hash, a.file_name, a.size, a.kind, a.format, a.mime, a.state, a.width, a.height,
    a.orientation, a.make, a.model, a.lens, a.iso, a.f_number, a.exposure_time, a.focal_length, a.duration,
    a.captured_local, a.captured_offset, a.captured_source, a.captured_offset_source, a.captured_confidence,
    a.captured_zone, a.latitude, a.longitude, a.altitude, a.title, a.description, a.rating, a.people, a.country_code,
    a.country, a.region, a.city, a.content_identifier, a.motion_offset, a.motion_bytes, a.exif, a.container,
    a.video_codec, a.audio_codec, a.frame_rate, a.bit_rate, a.rotation, a.hdr, a.sample_rate, a.channels, a.playback,
    a.render_source, a.perceptual_hash, a.thumbhash, a.music, a.primary_id, a.companion_role, a.created_at,
    a.updated_at, a.trashed_at,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('size', t.size, 'width', t.width, 'height', t.height) ORDER BY t.size), '[]')
     FROM thumbnails AS t WHERE t.asset_id = a.id) AS thumbnails,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'title', b.title) ORDER BY b.title), '[]')
     FROM album_assets AS ba JOIN albums AS b ON b.id = ba.album_id WHERE ba.asset_id = a.id) AS albums,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('name', g.name, 'source', ag.source) ORDER BY g.name), '[]')
     FROM asset_tags AS ag JOIN tags AS g ON g.id = ag.tag_id WHERE ag.asset_id = a.id) AS tags,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('step', p.step, 'code', p.code, 'reason', p.reason, 'tool', p.tool,
         'tool_version', p.tool_version) ORDER BY p.step), '[]')
     FROM problems AS p WHERE p.asset_id = a.id) AS problems,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('id', c.id, 'role', c.companion_role, 'file_name', c.file_name,
         'format', c.format, 'mime', c.mime, 'playback', c.playback, 'state', c.state,
         'web_version', EXISTS (SELECT FROM web_versions AS v WHERE v.asset_id = c.id),
         'failed', EXISTS (SELECT FROM problems AS q WHERE q.asset_id = c.id AND q.step = 'web_version')) ORDER BY c.companion_role, c.id), '[]')
     FROM assets AS c WHERE c.primary_id = a.id) AS companions,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', s.kind, 'file_name', s.file_name) ORDER BY s.kind), '[]')
     FROM sidecars AS s WHERE s.asset_id = a.id) AS sidecars,
    (SELECT jsonb_build_object('mime', w.mime, 'made_by', w.made_by, 'encoder', w.encoder, 'width', w.width,
         'height', w.height, 'bytes', w.bytes)
     FROM web_versions AS w WHERE w.asset_id = a.id) AS web_version
FROM assets AS a
WHERE a.id = $1 AND a.owner_id = $2;

-- name: page_captured_desc
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, duration, rating, thumbhash,
    captured_local, captured_offset, created_at, captured_local AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND primary_id IS NULL AND (captured_local, id) < ($2, $3)
    AND captured_local >= $5 AND captured_local < $6 AND ($7::timestamptz IS NULL OR instant(captured_local, captured_offset) >= $7)
    AND ($8::timestamptz IS NULL OR instant(captured_local, captured_offset) < $8)
ORDER BY captured_local DESC, id DESC
LIMIT $4;

-- name: page_captured_desc_of_kind
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, duration, rating, thumbhash,
    captured_local, captured_offset, created_at, captured_local AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND primary_id IS NULL AND (captured_local, id) < ($2, $3)
    AND captured_local >= $5 AND captured_local < $6 AND ($7::timestamptz IS NULL OR instant(captured_local, captured_offset) >= $7)
    AND ($8::timestamptz IS NULL OR instant(captured_local, captured_offset) < $8) AND kind = $9
ORDER BY captured_local DESC, id DESC
LIMIT $4;

-- name: page_captured_asc
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, duration, rating, thumbhash,
    captured_local, captured_offset, created_at, captured_local AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND primary_id IS NULL AND (captured_local, id) > ($2, $3)
    AND captured_local >= $5 AND captured_local < $6 AND ($7::timestamptz IS NULL OR instant(captured_local, captured_offset) >= $7)
    AND ($8::timestamptz IS NULL OR instant(captured_local, captured_offset) < $8)
ORDER BY captured_local, id
LIMIT $4;

-- name: page_captured_asc_of_kind
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, duration, rating, thumbhash,
    captured_local, captured_offset, created_at, captured_local AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND primary_id IS NULL AND (captured_local, id) > ($2, $3)
    AND captured_local >= $5 AND captured_local < $6 AND ($7::timestamptz IS NULL OR instant(captured_local, captured_offset) >= $7)
    AND ($8::timestamptz IS NULL OR instant(captured_local, captured_offset) < $8) AND kind = $9
ORDER BY captured_local, id
LIMIT $4;

-- name: page_added_desc
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, duration, rating, thumbhash,
    captured_local, captured_offset, created_at, created_at AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND primary_id IS NULL AND (created_at, id) < ($2, $3)
    AND captured_local >= $5 AND captured_local < $6 AND ($7::timestamptz IS NULL OR instant(captured_local, captured_offset) >= $7)
    AND ($8::timestamptz IS NULL OR instant(captured_local, captured_offset) < $8)
ORDER BY created_at DESC, id DESC
LIMIT $4;

-- name: page_added_desc_of_kind
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, duration, rating, thumbhash,
    captured_local, captured_offset, created_at, created_at AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND primary_id IS NULL AND (created_at, id) < ($2, $3)
    AND captured_local >= $5 AND captured_local < $6 AND ($7::timestamptz IS NULL OR instant(captured_local, captured_offset) >= $7)
    AND ($8::timestamptz IS NULL OR instant(captured_local, captured_offset) < $8) AND kind = $9
ORDER BY created_at DESC, id DESC
LIMIT $4;

-- name: page_added_asc
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, duration, rating, thumbhash,
    captured_local, captured_offset, created_at, created_at AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND primary_id IS NULL AND (created_at, id) > ($2, $3)
    AND captured_local >= $5 AND captured_local < $6 AND ($7::timestamptz IS NULL OR instant(captured_local, captured_offset) >= $7)
    AND ($8::timestamptz IS NULL OR instant(captured_local, captured_offset) < $8)
ORDER BY created_at, id
LIMIT $4;

-- name: page_added_asc_of_kind
SELECT id, content_hash, file_name, size, kind, format, mime, state, width, height, duration, rating, thumbhash,
    captured_local, captured_offset, created_at, created_at AS position
FROM assets
WHERE owner_id = $1 AND trashed_at IS NULL AND primary_id IS NULL AND (created_at, id) > ($2, $3)
    AND captured_local >= $5 AND captured_local < $6 AND ($7::timestamptz IS NULL OR instant(captured_local, captured_offset) >= $7)
    AND ($8::timestamptz IS NULL OR instant(captured_local, captured_offset) < $8) AND kind = $9
ORDER BY created_at, id
LIMIT $4;

-- name: lock_shot
-- In the order in which everybody locks assets. Whoever joins another file to the shot waits for the primary.
SELECT id FROM assets WHERE (id = $1 OR primary_id = $1) AND owner_id = $2 ORDER BY id FOR NO KEY UPDATE;

-- name: set_trashed
-- With its companions; a companion that goes alone is one no more.
UPDATE assets
SET trashed_at = now(), updated_at = now(),
    primary_id = CASE WHEN id <> $1 THEN primary_id END, companion_role = CASE WHEN id <> $1 THEN companion_role END
WHERE (id = $1 OR primary_id = $1) AND owner_id = $2 AND trashed_at IS NULL
RETURNING id;

-- name: clear_trashed
UPDATE assets
SET trashed_at = NULL, updated_at = now(),
    primary_id = CASE WHEN id <> $1 THEN primary_id END, companion_role = CASE WHEN id <> $1 THEN companion_role END
WHERE (id = $1 OR primary_id = $1) AND owner_id = $2 AND trashed_at IS NOT NULL
RETURNING id;

-- name: is_trashed
SELECT trashed_at IS NOT NULL FROM assets WHERE id = $1;

-- name: for_rendering
SELECT id, owner_id, content_hash, file_name, size, kind, format, mime, state, duration, playback, motion_offset,
    motion_bytes
FROM assets WHERE id = $1;
