-- Only `exchange`, `release` and `rescue` move a job out of running, each guarded by the worker that runs it.

-- name: insert
WITH given AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('jobs', 'id')) AS id, spec.*
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::timestamptz[], $7::smallint[], $8::uuid[]
    ) WITH ORDINALITY AS spec (kind, queue, key, args, priority, run_at, max_attempts, owner_id, position)
), inserted AS (
    INSERT INTO jobs (id, kind, queue, key, args, state, priority, run_at, max_attempts, owner_id)
    OVERRIDING SYSTEM VALUE
    SELECT
        id, kind, queue, key, args::jsonb, CASE WHEN run_at > now() THEN 'scheduled' ELSE 'available' END,
        priority, coalesce(run_at, now()), max_attempts, owner_id
    FROM given
    ORDER BY kind, key, position -- one order for everybody, so that overlapping batches cannot deadlock
    ON CONFLICT (kind, key)
        WHERE key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable') DO NOTHING
    RETURNING id
)
SELECT given.position, given.id FROM given JOIN inserted USING (id);

-- name: live_ids
SELECT wanted.position, jobs.id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (kind, key, position)
JOIN jobs ON jobs.kind = wanted.kind AND jobs.key = wanted.key
WHERE jobs.state IN ('available', 'scheduled', 'running', 'retryable');

-- name: live_job
SELECT
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    finished_at, result, errors
FROM jobs
WHERE kind = $1 AND key = $2 AND state IN ('available', 'scheduled', 'running', 'retryable');

-- name: by_ids
SELECT
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    finished_at, result, errors
FROM jobs
WHERE id = ANY ($1::bigint[]);

-- name: depths
-- In three parts, each of which reads one partial index, whatever the number of final jobs.
SELECT queue, 'available' AS state, count(*) AS jobs FROM jobs WHERE state = 'available' GROUP BY queue
UNION ALL
SELECT queue, state, count(*) FROM jobs WHERE state IN ('scheduled', 'retryable') GROUP BY queue, state
UNION ALL
SELECT queue, 'running', count(*) FROM jobs WHERE state = 'running' GROUP BY queue;

-- name: exchange
-- Reports what ended and takes what is next. worker_id is set exactly while a job runs (CHECK), so the guard means
-- state = 'running'; spelling that out would offer the planner the index of running jobs, which is full of dead entries.
WITH ended AS (
    SELECT *
    FROM unnest(
        $3::bigint[], $4::smallint[], $5::text[], $6::boolean[], $7::double precision[], $8::text[], $9::text[], $10::text[]
    ) AS ended (id, attempt, state, counted, delay, result, code, message)
), acknowledged AS (
    UPDATE jobs SET
        state = ended.state,
        attempt = CASE WHEN ended.counted THEN jobs.attempt ELSE jobs.attempt - 1 END,
        run_at = CASE WHEN ended.delay IS NULL THEN jobs.run_at ELSE now() + ended.delay * interval '1 second' END,
        worker_id = NULL,
        heartbeat_at = NULL,
        finished_at = CASE WHEN ended.state IN ('completed', 'cancelled', 'discarded') THEN now() END,
        result = ended.result::jsonb,
        errors = CASE
            WHEN ended.code IS NULL THEN jobs.errors
            ELSE CASE WHEN jsonb_array_length(jobs.errors) >= 20 THEN jobs.errors - 0 ELSE jobs.errors END
                || jsonb_build_object(
                    'attempt', jobs.attempt, 'at', now(), 'code', ended.code, 'message', ended.message
                )
        END
    FROM ended
    WHERE jobs.id = ended.id AND jobs.worker_id = $1 AND jobs.attempt = ended.attempt
    RETURNING jobs.id
), next AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE state = 'available' AND queue = $2
    ORDER BY priority, run_at, id
    LIMIT $11
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE jobs SET
        state = 'running', attempt = attempt + 1, worker_id = $1, claimed_at = now(), heartbeat_at = now()
    WHERE id = ANY (ARRAY (SELECT id FROM next))
    RETURNING id, kind, args::text AS args, priority, attempt, max_attempts, owner_id
)
SELECT id, kind, args, priority, attempt, max_attempts, owner_id FROM claimed
UNION ALL
SELECT id, NULL, NULL, NULL, NULL, NULL, NULL FROM acknowledged;

-- name: release
-- Gives back every job of this worker and queue except $3: interrupted ones, and claims whose answer was lost.
UPDATE jobs SET state = 'available', attempt = attempt - 1, worker_id = NULL, heartbeat_at = NULL
WHERE state = 'running' AND worker_id = $1 AND queue = $2 AND NOT id = ANY ($3::bigint[]);

-- name: heartbeat
UPDATE jobs SET heartbeat_at = now() WHERE id = ANY ($2::bigint[]) AND worker_id = $1;

-- name: hold_worker_lock
SELECT pg_try_advisory_lock(hashtext('lumilio workers'), $1);

-- name: suspects
-- Workers whose advisory lock is free ($2: and that missed a heartbeat), or with a job that is silent for $3 seconds.
SELECT worker_id
FROM (
    SELECT worker_id, min(heartbeat_at) AS oldest, max(heartbeat_at) AS newest
    FROM jobs
    WHERE state = 'running'
    GROUP BY worker_id
) AS workers
WHERE oldest < now() - $3::double precision * interval '1 second'
    OR (
        worker_id <> $1
        AND newest < now() - $2::double precision * interval '1 second'
        AND pg_try_advisory_xact_lock(hashtext('lumilio workers'), worker_id)
    );

-- name: rescue
-- All jobs of the workers $2 whose lock is free, and those that are silent for $3 seconds.
WITH lost AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE state = 'running'
        AND worker_id = ANY ($2::integer[])
        AND (
            heartbeat_at < now() - $3::double precision * interval '1 second'
            OR (worker_id <> $1 AND pg_try_advisory_xact_lock(hashtext('lumilio workers'), worker_id))
        )
    ORDER BY id
    LIMIT $4
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET
    state = CASE WHEN attempt < max_attempts THEN 'available' ELSE 'discarded' END,
    worker_id = NULL,
    heartbeat_at = NULL,
    finished_at = CASE WHEN attempt < max_attempts THEN NULL ELSE now() END,
    errors = CASE WHEN jsonb_array_length(errors) >= 20 THEN errors - 0 ELSE errors END
        || jsonb_build_object('attempt', attempt, 'at', now(), 'code', $5::text, 'message', $6::text)
WHERE id = ANY (ARRAY (SELECT id FROM lost))
RETURNING
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    finished_at, result, errors;

-- name: promote
WITH due AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE state IN ('scheduled', 'retryable') AND run_at <= now()
    ORDER BY run_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), promoted AS (
    UPDATE jobs SET state = 'available' WHERE id = ANY (ARRAY (SELECT id FROM due)) RETURNING queue
)
SELECT queue, count(*) AS jobs FROM promoted GROUP BY queue;

-- name: seconds_to_next_due
-- NULL when nothing waits: no greatest() here, because it ignores NULL.
SELECT extract(epoch FROM min(run_at) - now())::double precision
FROM jobs
WHERE state IN ('scheduled', 'retryable');

-- name: remove_finished
WITH old AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE finished_at < now() - $1::double precision * interval '1 second'
    ORDER BY finished_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM jobs WHERE id = ANY (ARRAY (SELECT id FROM old));

-- name: notify
SELECT pg_notify('lumilio_jobs', $1);
