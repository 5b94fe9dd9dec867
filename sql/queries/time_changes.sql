-- name: add
INSERT INTO time_changes (owner_id, seconds, selection) VALUES ($1, $2, $3)
RETURNING id, owner_id, seconds, selection, done_up_to, changed, created_at, ended_at;

-- name: page
-- The owner's, the newest first; one alone ($2), or those before $3.
SELECT id, owner_id, seconds, selection, done_up_to, changed, created_at, ended_at
FROM time_changes
WHERE owner_id = $1 AND ($2::uuid IS NULL OR id = $2) AND ($3::uuid IS NULL OR id < $3)
ORDER BY id DESC
LIMIT $4;

-- name: lock
SELECT id, owner_id, seconds, selection, done_up_to, changed, created_at, ended_at
FROM time_changes
WHERE id = $1
FOR UPDATE;

-- name: count
-- What `next_ids` has still to visit.
SELECT count(*)
FROM assets AS a
WHERE a.owner_id = $1
    AND a.id > $2
    AND a.created_at <= coalesce($3::timestamptz, now())
    AND a.trashed_at IS NULL
    AND ($4::uuid[] IS NULL
        OR a.id = ANY (ARRAY(SELECT coalesce(n.primary_id, n.id) FROM assets AS n WHERE n.id = ANY ($4)))
        OR a.primary_id = ANY (ARRAY(SELECT coalesce(n.primary_id, n.id) FROM assets AS n WHERE n.id = ANY ($4))))
    AND ($5::timestamp IS NULL OR a.captured_local >= $5)
    AND ($6::timestamp IS NULL OR a.captured_local < $6)
    AND ($7::text IS NULL OR a.kind = $7)
    AND ($8::text IS NULL OR a.make ILIKE $8)
    AND ($9::text IS NULL OR a.model ILIKE $9)
    AND ($10::text IS NULL OR a.file_name ILIKE $10);

-- name: next_ids
-- Assets after $2 that were there at $3 and fit. A named one ($4) stands for its whole shot: the primary, which may be
-- another one, and what hangs on it. By id: whatever happens to their times, each is visited once.
SELECT a.id
FROM assets AS a
WHERE a.owner_id = $1
    AND a.id > $2
    AND a.created_at <= coalesce($3::timestamptz, now())
    AND a.trashed_at IS NULL
    AND ($4::uuid[] IS NULL
        OR a.id = ANY (ARRAY(SELECT coalesce(n.primary_id, n.id) FROM assets AS n WHERE n.id = ANY ($4)))
        OR a.primary_id = ANY (ARRAY(SELECT coalesce(n.primary_id, n.id) FROM assets AS n WHERE n.id = ANY ($4))))
    AND ($5::timestamp IS NULL OR a.captured_local >= $5)
    AND ($6::timestamp IS NULL OR a.captured_local < $6)
    AND ($7::text IS NULL OR a.kind = $7)
    AND ($8::text IS NULL OR a.make ILIKE $8)
    AND ($9::text IS NULL OR a.model ILIKE $9)
    AND ($10::text IS NULL OR a.file_name ILIKE $10)
ORDER BY a.id
LIMIT $11
FOR UPDATE OF a;

-- name: shift
-- A clock that was wrong: the zone stays. What would leave the years 1 to 9999 stays as it is.
UPDATE assets
SET captured_local = captured_local + make_interval(secs => $2::bigint), captured_source = 'user', updated_at = now()
WHERE id = ANY ($1::uuid[])
    AND captured_local + make_interval(secs => $2::bigint) BETWEEN '0001-01-02' AND '9999-12-30';

-- name: captured
SELECT id, captured_local, captured_offset, captured_source FROM assets WHERE id = ANY ($1::uuid[]);

-- name: advance
UPDATE time_changes SET done_up_to = $2, changed = changed + $3 WHERE id = $1;

-- name: finish
UPDATE time_changes SET ended_at = now() WHERE id = $1 AND ended_at IS NULL;
