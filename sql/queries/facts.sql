-- name: input
SELECT
    a.id, a.owner_id, a.file_name, a.size, a.kind, a.format, a.mime, a.exif, a.captured_source,
    coalesce(
        (SELECT 'epoch'::timestamptz + f.mtime_ns / 1000 * interval '1 microsecond'
         FROM locations AS l JOIN file_records AS f ON f.repository_id = l.repository_id AND f.path = l.path
         WHERE l.asset_id = a.id AND l.state = 'present' ORDER BY l.created_at, l.id LIMIT 1),
        a.created_at
    ) AS modified,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', s.kind, 'tags', s.tags) ORDER BY s.kind DESC), '[]')
     FROM sidecars AS s WHERE s.asset_id = a.id) AS sidecars
FROM assets AS a
WHERE a.id = $1
FOR UPDATE OF a;

-- name: update
-- The displayed size and the duration that a processor measured are better than what tags say; a time that a person set
-- stays unless $4.
UPDATE assets AS a
SET width = coalesce(a.width, f.width), height = coalesce(a.height, f.height), orientation = f.orientation,
    make = f.make, model = f.model, lens = f.lens, iso = f.iso, f_number = f.f_number,
    exposure_time = f.exposure_time, focal_length = f.focal_length, duration = coalesce(a.duration, f.duration),
    captured_local = CASE WHEN t.kept THEN a.captured_local ELSE f.captured_local END,
    captured_offset = CASE WHEN t.kept THEN a.captured_offset ELSE f.captured_offset END,
    captured_source = CASE WHEN t.kept THEN a.captured_source ELSE f.captured_source END,
    captured_offset_source = CASE WHEN t.kept THEN a.captured_offset_source ELSE f.captured_offset_source END,
    captured_confidence = CASE WHEN t.kept THEN a.captured_confidence ELSE f.captured_confidence END,
    captured_zone = f.captured_zone, latitude = f.latitude, longitude = f.longitude, altitude = f.altitude,
    title = f.title, description = f.description, rating = f.rating, people = f.people,
    country_code = f.country_code, country = f.country, region = f.region, city = f.city,
    content_identifier = f.content_identifier,
    motion_offset = coalesce(f.motion_offset, a.motion_offset), motion_bytes = coalesce(f.motion_bytes, a.motion_bytes),
    exif = $3, updated_at = now()
FROM jsonb_to_record($2) AS f(
        width integer, height integer, orientation smallint, make text, model text, lens text, iso integer,
        f_number double precision, exposure_time double precision, focal_length double precision,
        duration double precision, captured_local timestamp, captured_offset integer, captured_source text,
        captured_offset_source text, captured_confidence text, captured_zone text, latitude double precision,
        longitude double precision, altitude double precision, title text, description text, rating smallint,
        people jsonb, country_code text, country text, region text, city text, content_identifier text,
        motion_offset bigint, motion_bytes bigint
    ),
    LATERAL (SELECT a2.captured_source = 'user' AND NOT $4::boolean AS kept FROM assets AS a2 WHERE a2.id = $1) AS t
WHERE a.id = $1;

-- name: set_media_type
UPDATE assets SET kind = $2, format = $3, mime = $4, updated_at = now() WHERE id = $1;

-- name: set_rendition
UPDATE assets
SET state = $9, width = coalesce($2, width), height = coalesce($3, height), render_source = $4,
    perceptual_hash = $5, thumbhash = $6, music = $7, duration = coalesce((s.v).duration, duration),
    container = (s.v).container, video_codec = (s.v).video_codec, audio_codec = (s.v).audio_codec,
    frame_rate = (s.v).frame_rate, bit_rate = (s.v).bit_rate, rotation = (s.v).rotation, hdr = (s.v).hdr,
    sample_rate = (s.v).sample_rate, channels = (s.v).channels, playback = (s.v).playback, updated_at = now()
FROM (SELECT jsonb_populate_record(NULL::assets, coalesce($8::jsonb, '{}')) AS v) AS s
WHERE id = $1;

-- name: add_tags
INSERT INTO tags (owner_id, name)
SELECT $1, named.name FROM unnest($2::text[]) AS named(name) ORDER BY lower(named.name)
ON CONFLICT (owner_id, lower(name)) DO NOTHING;

-- name: put_file_tags
INSERT INTO asset_tags (asset_id, tag_id, source)
SELECT $1, t.id, 'file'
FROM tags AS t
WHERE t.owner_id = $2 AND lower(t.name) IN (SELECT lower(named) FROM unnest($3::text[]) AS named)
ON CONFLICT (asset_id, tag_id) DO NOTHING;

-- name: drop_file_tags
DELETE FROM asset_tags AS at
USING tags AS t
WHERE at.asset_id = $1 AND at.source = 'file' AND t.id = at.tag_id
    AND lower(t.name) NOT IN (SELECT lower(named) FROM unnest($2::text[]) AS named);
