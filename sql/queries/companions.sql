-- name: candidates
-- The asset itself, and whatever may be of the same shot: by Apple's identifier or by the name without its extension.
SELECT
    o.id, o.kind, o.format, o.model, o.duration, o.content_identifier, o.captured_local, instant(o.captured_local, o.captured_offset) AS captured_utc,
    o.captured_source, o.primary_id, o.trashed_at IS NOT NULL AS trashed,
    lower(regexp_replace(o.file_name, '\.[^.]*$', '')) AS stem,
    EXISTS (SELECT FROM assets AS c WHERE c.primary_id = o.id) AS is_primary,
    ARRAY(SELECT l.repository_id || ':' || l.path FROM locations AS l WHERE l.asset_id = o.id ORDER BY 1) AS places
FROM assets AS a, LATERAL (
        SELECT a.id
        UNION
        SELECT i.id FROM assets AS i WHERE i.owner_id = a.owner_id AND i.content_identifier = a.content_identifier
        UNION
        SELECT n.id FROM assets AS n
        WHERE n.owner_id = a.owner_id
            AND lower(regexp_replace(n.file_name, '\.[^.]*$', '')) = lower(regexp_replace(a.file_name, '\.[^.]*$', ''))
            AND n.captured_local BETWEEN a.captured_local - interval '1 day' AND a.captured_local + interval '1 day'
    ) AS near JOIN assets AS o ON o.id = near.id
WHERE a.id = $1
ORDER BY o.id = a.id DESC, (o.content_identifier = a.content_identifier) IS TRUE DESC,
    greatest(o.captured_local - a.captured_local, a.captured_local - o.captured_local), o.id
LIMIT 50;

-- name: lock
SELECT id FROM assets WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- name: join
-- Guarded: no chains, nobody twice.
UPDATE assets AS a SET primary_id = $2, companion_role = $3, updated_at = now()
FROM assets AS p
WHERE a.id = $1 AND p.id = $2 AND a.primary_id IS NULL AND p.primary_id IS NULL
    AND (a.trashed_at IS NULL) = (p.trashed_at IS NULL)
    AND NOT EXISTS (SELECT FROM assets AS c WHERE c.primary_id = a.id);
