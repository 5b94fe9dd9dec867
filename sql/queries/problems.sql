-- name: record
-- A repeat that does not say which tool failed keeps what was known of it. Ignored stays what fails as it did before.
INSERT INTO problems AS p (asset_id, step, code, reason, tool, tool_version, attempts)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (asset_id, step) DO UPDATE SET
    code = excluded.code,
    reason = excluded.reason,
    tool = CASE WHEN excluded.tool IS NULL AND excluded.code = p.code THEN p.tool ELSE excluded.tool END,
    tool_version = CASE
        WHEN excluded.tool IS NULL AND excluded.code = p.code THEN p.tool_version ELSE excluded.tool_version
    END,
    attempts = p.attempts + excluded.attempts,
    ignored_at = CASE
        WHEN excluded.code = p.code
            AND (excluded.tool IS NULL
                 OR (excluded.tool, excluded.tool_version) IS NOT DISTINCT FROM (p.tool, p.tool_version))
        THEN p.ignored_at
    END,
    updated_at = now();

-- name: clear
DELETE FROM problems WHERE asset_id = $1 AND step = ANY ($2::text[]);

-- name: of_asset
SELECT step, code, reason, tool, tool_version FROM problems WHERE asset_id = $1 ORDER BY step;

-- name: failed_elsewhere
-- Assets that have a problem of another step than these ($2).
SELECT DISTINCT asset_id FROM problems WHERE asset_id = ANY ($1::uuid[]) AND step <> ALL ($2::text[]);

-- name: page
-- The owner's problems outside the trash that fit, after ($9, $10, $11) in a listing with the newest failure first.
SELECT
    p.asset_id, p.step, p.code, p.reason, p.tool, p.tool_version, p.attempts, p.created_at, p.updated_at, p.ignored_at,
    a.file_name, a.kind, a.format,
    (SELECT l.path FROM locations AS l
     WHERE l.asset_id = p.asset_id AND l.state = 'present' ORDER BY l.created_at, l.id LIMIT 1) AS path
FROM problems AS p
JOIN assets AS a ON a.id = p.asset_id
WHERE a.owner_id = $1
    AND a.trashed_at IS NULL
    AND ($2::uuid[] IS NULL OR p.asset_id = ANY ($2))
    AND ($3::text IS NULL OR p.code = $3)
    AND ($4::text IS NULL OR p.step = $4)
    AND ($5::text IS NULL OR p.tool = $5)
    AND ($6::text IS NULL OR a.kind = $6)
    AND ($7::text IS NULL OR a.format = $7)
    AND ($8::boolean IS NULL OR (p.ignored_at IS NOT NULL) = $8)
    AND (p.updated_at, p.asset_id, p.step) < ($9::timestamptz, $10::uuid, $11::text)
ORDER BY p.updated_at DESC, p.asset_id DESC, p.step DESC
LIMIT $12;

-- name: counts
-- What `page` lists, counted.
SELECT p.code, p.step, count(*) AS problems
FROM problems AS p
JOIN assets AS a ON a.id = p.asset_id
WHERE a.owner_id = $1
    AND a.trashed_at IS NULL
    AND ($2::uuid[] IS NULL OR p.asset_id = ANY ($2))
    AND ($3::text IS NULL OR p.code = $3)
    AND ($4::text IS NULL OR p.step = $4)
    AND ($5::text IS NULL OR p.tool = $5)
    AND ($6::text IS NULL OR a.kind = $6)
    AND ($7::text IS NULL OR a.format = $7)
    AND ($8::boolean IS NULL OR (p.ignored_at IS NOT NULL) = $8)
GROUP BY p.code, p.step
ORDER BY count(*) DESC, p.code, p.step;

-- name: set_ignored
UPDATE problems AS p
SET ignored_at = CASE WHEN $4::boolean THEN now() END
FROM assets AS a, unnest($2::uuid[], $3::text[]) AS named (asset_id, step)
WHERE a.id = p.asset_id AND a.owner_id = $1
    AND p.asset_id = named.asset_id AND p.step = named.step
    AND (p.ignored_at IS NOT NULL) <> $4;

-- name: take_outdated
-- Some problems that nobody ignores and that another version of a tool ($1) made than the one that is here now ($2). From
-- now on they are that version's: each version gets one try, whatever becomes of it. Lumilio itself answers for those
-- that name no tool. Three ranges of `problems_tool_idx` and no IS DISTINCT FROM, which no index answers.
WITH outdated AS (
    SELECT p.asset_id, p.step, a.owner_id
    FROM problems AS p
    JOIN assets AS a ON a.id = p.asset_id
    WHERE p.ignored_at IS NULL
        AND coalesce(p.tool, 'lumilio') = $1::text
        AND (p.tool_version < $2::text OR p.tool_version > $2 OR p.tool_version IS NULL)
        AND a.trashed_at IS NULL
        AND (starts_with(p.code, 'media.') OR starts_with(p.code, 'tool.'))
    LIMIT $3
    FOR UPDATE OF p SKIP LOCKED
)
UPDATE problems AS p
SET tool = $1, tool_version = $2
FROM outdated
WHERE p.asset_id = outdated.asset_id AND p.step = outdated.step
RETURNING p.asset_id, outdated.owner_id, p.step;

-- name: now_supported
-- Assets after $2 of formats ($1) that are processed now and were not when they came.
SELECT id AS asset_id, owner_id, NULL AS step
FROM assets
WHERE state = 'unsupported' AND trashed_at IS NULL AND format = ANY ($1::text[]) AND id > $2
ORDER BY id
LIMIT $3;

-- name: unrendered
-- Assets after $2 that were ready before what their thumbnails are made of was kept; only where the file can be read
-- now, in one of these repositories ($1).
SELECT a.id AS asset_id, a.owner_id, NULL AS step
FROM assets AS a
WHERE a.state = 'ready' AND a.render_source IS NULL AND a.trashed_at IS NULL AND a.id > $2
    AND EXISTS (SELECT FROM locations AS l
                WHERE l.asset_id = a.id AND l.state = 'present' AND l.repository_id = ANY ($1::uuid[]))
ORDER BY a.id
LIMIT $3;
