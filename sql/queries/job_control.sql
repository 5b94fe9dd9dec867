-- What people do to jobs and queues, and what they see of them.

-- name: lock
SELECT id
FROM jobs
WHERE (state = ANY ($1::text[]) OR $1 IS NULL)
    AND (queue = $2 OR $2 IS NULL)
    AND (kind = $3 OR $3 IS NULL)
    AND (owner_id = $4 OR $4 IS NULL)
    AND (id = ANY ($5::bigint[]) OR $5 IS NULL)
ORDER BY id
LIMIT $6
FOR UPDATE;

-- name: cancel
-- Waiting jobs are over at once; of running ones the wish is noted, and their worker told after the commit. After `lock`
-- and not in one statement with it: an UPDATE checks the constraints on the version that its snapshot shows, before it
-- finds out that there is a newer one.
WITH picked AS MATERIALIZED (
    SELECT id, state FROM jobs WHERE id = ANY ($1::bigint[])
), wanted AS (
    UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, now())
    FROM picked
    WHERE jobs.id = picked.id AND picked.state = 'running'
    RETURNING jobs.id
), gone AS (
    DELETE FROM jobs USING picked WHERE jobs.id = picked.id AND picked.state <> 'running' RETURNING jobs.*
), kept AS (
    INSERT INTO finished_jobs (
        id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, claimed_at, created_at,
        errors
    )
    SELECT
        id, kind, queue, key, args, 'cancelled', priority, attempt, max_attempts, run_at, owner_id, claimed_at,
        created_at, errors
    FROM gone
    RETURNING id
)
SELECT id, true AS running FROM wanted
UNION ALL
SELECT id, false FROM kept;

-- name: retry
-- Failed jobs become available with a whole round of attempts ($7, $8 by kind): the number of an attempt is never used
-- twice. One whose kind and key has a live job stays what it is.
WITH picked AS MATERIALIZED (
    SELECT *
    FROM finished_jobs
    WHERE state IN ('cancelled', 'discarded')
        AND (state = ANY ($1::text[]) OR $1 IS NULL)
        AND (queue = $2 OR $2 IS NULL)
        AND (kind = $3 OR $3 IS NULL)
        AND (owner_id = $4 OR $4 IS NULL)
        AND (id = ANY ($5::bigint[]) OR $5 IS NULL)
    ORDER BY id
    LIMIT $6
    FOR UPDATE
), revived AS (
    INSERT INTO jobs (
        id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, claimed_at, created_at,
        errors
    )
    OVERRIDING SYSTEM VALUE
    SELECT
        id, picked.kind, queue, key, args, 'available', priority, attempt,
        attempt + coalesce(rounds.attempts, 1), now(), owner_id, claimed_at, created_at, errors
    FROM picked
    LEFT JOIN unnest($7::text[], $8::smallint[]) AS rounds (kind, attempts) ON rounds.kind = picked.kind
    ORDER BY picked.kind, picked.key, picked.id -- as `insert` does, so that they cannot deadlock
    ON CONFLICT (kind, key) WHERE key IS NOT NULL DO NOTHING
    RETURNING id, queue
), removed AS (
    DELETE FROM finished_jobs USING revived WHERE finished_jobs.id = revived.id
)
SELECT picked.id, revived.id IS NOT NULL AS revived, picked.queue FROM picked LEFT JOIN revived USING (id);

-- name: pause
INSERT INTO job_queues (name) VALUES ($1) ON CONFLICT (name) DO NOTHING;

-- name: resume
DELETE FROM job_queues WHERE name = $1;

-- name: paused
SELECT name, paused_at FROM job_queues;

-- name: depths
-- In parts, each of which reads one partial index.
SELECT queue, 'available' AS state, count(*) AS jobs, min(run_at) AS oldest
FROM jobs
WHERE state = 'available'
GROUP BY queue
UNION ALL
SELECT queue, state, count(*), min(run_at) FROM jobs WHERE state IN ('scheduled', 'retryable') GROUP BY queue, state
UNION ALL
SELECT queue, 'running', count(*), min(claimed_at) FROM jobs WHERE state = 'running' GROUP BY queue;

-- name: failures
SELECT queue, state, count(*) AS jobs FROM finished_jobs WHERE state <> 'completed' GROUP BY queue, state;

-- name: workers
SELECT worker_id, name, seen_at FROM job_sessions WHERE role = 'worker' ORDER BY name, worker_id;

-- name: list
-- In parts by state: each is answered by an index of its own, and one that cannot match costs nothing.
SELECT
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    finished_at, result, errors, progress, progress_message, cancel_requested
FROM (
    (
        SELECT * FROM all_jobs
        WHERE state = 'available'
            AND ($1::text[] IS NULL OR 'available' = ANY ($1))
            AND ($2::text IS NULL OR queue = $2)
            AND ($3::text IS NULL OR kind = $3)
            AND ($4::uuid IS NULL OR owner_id = $4)
            AND id < $5
        ORDER BY id DESC
        LIMIT $6
    )
    UNION ALL
    (
        SELECT * FROM all_jobs
        WHERE state = 'running'
            AND ($1::text[] IS NULL OR 'running' = ANY ($1))
            AND ($2::text IS NULL OR queue = $2)
            AND ($3::text IS NULL OR kind = $3)
            AND ($4::uuid IS NULL OR owner_id = $4)
            AND id < $5
        ORDER BY id DESC
        LIMIT $6
    )
    UNION ALL
    (
        SELECT * FROM all_jobs
        WHERE state IN ('scheduled', 'retryable')
            AND ($1::text[] IS NULL OR $1 && ARRAY['scheduled', 'retryable'])
            AND ($1::text[] IS NULL OR state = ANY ($1))
            AND ($2::text IS NULL OR queue = $2)
            AND ($3::text IS NULL OR kind = $3)
            AND ($4::uuid IS NULL OR owner_id = $4)
            AND id < $5
        ORDER BY id DESC
        LIMIT $6
    )
    UNION ALL
    (
        SELECT * FROM all_jobs
        WHERE state = 'completed'
            AND ($1::text[] IS NULL OR 'completed' = ANY ($1))
            AND ($2::text IS NULL OR queue = $2)
            AND ($3::text IS NULL OR kind = $3)
            AND ($4::uuid IS NULL OR owner_id = $4)
            AND id < $5
        ORDER BY id DESC
        LIMIT $6
    )
    UNION ALL
    (
        SELECT * FROM all_jobs
        WHERE state IN ('cancelled', 'discarded')
            AND ($1::text[] IS NULL OR $1 && ARRAY['cancelled', 'discarded'])
            AND ($1::text[] IS NULL OR state = ANY ($1))
            AND ($2::text IS NULL OR queue = $2)
            AND ($3::text IS NULL OR kind = $3)
            AND ($4::uuid IS NULL OR owner_id = $4)
            AND id < $5
        ORDER BY id DESC
        LIMIT $6
    )
) AS found
ORDER BY id DESC
LIMIT $6;

-- name: ended_since
-- What ended after ($1, $2), oldest first.
SELECT
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    finished_at, result, errors, progress, progress_message, cancel_requested
FROM (
    (
        SELECT * FROM all_jobs
        WHERE state = 'completed' AND (finished_at, id) > ($1::timestamptz, $2::bigint)
        ORDER BY finished_at, id
        LIMIT $3
    )
    UNION ALL
    (
        SELECT * FROM all_jobs
        WHERE state IN ('cancelled', 'discarded') AND (finished_at, id) > ($1::timestamptz, $2::bigint)
        ORDER BY finished_at, id
        LIMIT $3
    )
) AS found
ORDER BY finished_at, id
LIMIT $3;

-- name: running
-- What runs now: as many as all workers have slots.
SELECT
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    finished_at, result, errors, progress, progress_message, cancel_requested
FROM all_jobs
WHERE state = 'running';

-- name: horizon
-- No finished_at that is still to come lies before it: that is when the transaction began. One without an id for five
-- seconds only reads (a backup); a second is for transactions that are not shown yet, and a minute is the most.
SELECT
    greatest(least(now(), min(xact_start)) - interval '1 second', now() - interval '1 minute') AS horizon,
    now() AS now
FROM pg_stat_activity
WHERE datname = current_database()
    AND backend_type = 'client backend'
    AND pid <> pg_backend_pid()
    AND (backend_xid IS NOT NULL OR xact_start > now() - interval '5 seconds');

-- name: hurry
UPDATE jobs SET priority = $3, queue = $4
WHERE kind = $1 AND key = $2 AND state <> 'running' AND (priority > $3 OR queue <> $4);

-- name: hasten
UPDATE jobs
SET state = 'available', run_at = now(), priority = least(priority, 1)
WHERE id = ANY ($1::bigint[]) AND state IN ('scheduled', 'retryable')
RETURNING id;
