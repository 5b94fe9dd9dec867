-- What a worker does with jobs that it runs. Only `exchange`, `settle`, `release` and `rescue` move a job out of
-- running, each guarded by the worker that runs it and its attempt.

-- name: insert
WITH given AS MATERIALIZED (
    SELECT nextval('jobs_id_seq') AS id, spec.*
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
    ON CONFLICT (kind, key) WHERE key IS NOT NULL DO NOTHING
    RETURNING id
)
SELECT given.position, given.id FROM given JOIN inserted USING (id);

-- name: reserve_ids
SELECT array_agg(nextval('jobs_id_seq')) AS ids, now() AS now FROM generate_series(1, $1::integer);

-- name: live_ids
SELECT wanted.position, jobs.id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (kind, key, position)
JOIN jobs ON jobs.kind = wanted.kind AND jobs.key = wanted.key;

-- name: live_job
SELECT
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    finished_at, result, errors, progress, progress_message, cancel_requested
FROM all_jobs
WHERE kind = $1 AND key = $2 AND state IN ('available', 'scheduled', 'running', 'retryable');

-- name: by_ids
SELECT
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    finished_at, result, errors, progress, progress_message, cancel_requested
FROM all_jobs
WHERE id = ANY ($1::bigint[]);

-- name: exchange
-- Reports what is completed ($3 to $5) and claims up to $6 jobs. Of each priority $7 only those after ($8, $9) in claim
-- order are looked at: before them lie the entries of jobs that ran, which stay as long as an old snapshot does.
-- worker_id is set exactly while a job runs (CHECK), so the guard means state = 'running'.
WITH ended AS (
    SELECT * FROM unnest($3::bigint[], $4::smallint[], $5::text[]) AS ended (id, attempt, result)
), gone AS (
    DELETE FROM jobs USING ended
    WHERE jobs.id = ended.id AND jobs.worker_id = $1 AND jobs.attempt = ended.attempt
    RETURNING jobs.*, ended.result
), kept AS (
    INSERT INTO finished_jobs (
        id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, claimed_at, created_at,
        result, errors
    )
    SELECT
        id, kind, queue, key, args, 'completed', priority, attempt, max_attempts, run_at, owner_id, claimed_at,
        created_at, result::jsonb, errors
    FROM gone
    RETURNING id
), next AS MATERIALIZED (
    SELECT job.id
    FROM unnest($7::smallint[], $8::timestamptz[], $9::bigint[]) AS mark (priority, run_at, id)
    CROSS JOIN LATERAL (
        SELECT jobs.id
        FROM jobs
        WHERE jobs.state = 'available'
            AND jobs.queue = $2
            AND jobs.priority = mark.priority
            AND (jobs.run_at, jobs.id) > (mark.run_at, mark.id)
        ORDER BY jobs.run_at, jobs.id
        LIMIT $6
        FOR UPDATE SKIP LOCKED
    ) AS job
    WHERE NOT EXISTS (SELECT FROM job_queues WHERE name = $2)
    LIMIT $6
), claimed AS (
    UPDATE jobs SET state = 'running', attempt = attempt + 1, worker_id = $1, claimed_at = now()
    WHERE id = ANY (ARRAY (SELECT id FROM next))
    RETURNING id, kind, args::text AS args, priority, run_at, attempt, max_attempts, owner_id
)
-- answer
SELECT id, kind, args, priority, run_at, attempt, max_attempts, owner_id, NULL::bigint[] AS acknowledged FROM claimed
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, array_agg(id) FROM kept;

-- name: settle
-- Reports what ended otherwise. A job that somebody wants cancelled is not tried again.
WITH ended AS (
    SELECT *
    FROM unnest(
        $2::bigint[], $3::smallint[], $4::text[], $5::boolean[], $6::double precision[], $7::text[], $8::text[]
    ) AS ended (id, attempt, state, counted, delay, code, message)
), mine AS MATERIALIZED (
    SELECT
        jobs.id,
        CASE
            WHEN jobs.cancel_requested_at IS NOT NULL AND ended.state <> 'discarded' THEN 'cancelled'
            WHEN ended.state = 'retryable' AND jobs.attempt >= jobs.max_attempts THEN 'discarded'
            ELSE ended.state
        END AS state,
        CASE WHEN ended.counted THEN jobs.attempt ELSE jobs.attempt - 1 END AS attempt,
        CASE WHEN ended.delay IS NULL THEN jobs.run_at ELSE now() + ended.delay * interval '1 second' END AS run_at,
        CASE
            WHEN ended.code IS NULL THEN jobs.errors
            ELSE append_job_error(jobs.errors, jobs.attempt, ended.code, ended.message)
        END AS errors
    FROM jobs
    JOIN ended ON jobs.id = ended.id AND jobs.attempt = ended.attempt
    WHERE jobs.worker_id = $1
    ORDER BY jobs.id
    FOR UPDATE OF jobs
), again AS (
    UPDATE jobs SET
        state = mine.state, attempt = mine.attempt, run_at = mine.run_at, errors = mine.errors, worker_id = NULL,
        progress = NULL, progress_message = NULL
    FROM mine
    WHERE jobs.id = mine.id AND mine.state NOT IN ('cancelled', 'discarded')
    RETURNING jobs.id, jobs.state
), gone AS (
    DELETE FROM jobs USING mine
    WHERE jobs.id = mine.id AND mine.state IN ('cancelled', 'discarded')
    RETURNING jobs.*, mine.state AS final_state, mine.attempt AS attempts, mine.errors AS all_errors
), kept AS (
    INSERT INTO finished_jobs (
        id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, claimed_at, created_at,
        errors
    )
    SELECT
        id, kind, queue, key, args, final_state, priority, attempts, max_attempts, run_at, owner_id, claimed_at,
        created_at, all_errors
    FROM gone
    RETURNING id, state
)
SELECT id, state FROM again
UNION ALL
SELECT id, state FROM kept;

-- name: release
-- Gives back attempts of this worker: interrupted ones, and claims whose answer was lost.
WITH given AS (
    SELECT * FROM unnest($2::bigint[], $3::smallint[]) AS given (id, attempt)
), mine AS MATERIALIZED (
    SELECT jobs.id, jobs.cancel_requested_at IS NOT NULL AS cancelled
    FROM jobs
    JOIN given ON jobs.id = given.id AND jobs.attempt = given.attempt
    WHERE jobs.worker_id = $1
    ORDER BY jobs.id
    FOR UPDATE OF jobs
), again AS (
    UPDATE jobs SET
        state = 'available', attempt = attempt - 1, worker_id = NULL, progress = NULL, progress_message = NULL
    FROM mine
    WHERE jobs.id = mine.id AND NOT mine.cancelled
    RETURNING jobs.id, jobs.state
), gone AS (
    DELETE FROM jobs USING mine WHERE jobs.id = mine.id AND mine.cancelled RETURNING jobs.*
), kept AS (
    INSERT INTO finished_jobs (
        id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, claimed_at, created_at,
        errors
    )
    SELECT
        id, kind, queue, key, args, 'cancelled', priority, attempt - 1, max_attempts, run_at, owner_id, claimed_at,
        created_at, errors
    FROM gone
    RETURNING id, state
)
SELECT id, state FROM again
UNION ALL
SELECT id, state FROM kept;

-- name: mine
-- What this worker runs according to the rows, and what of it somebody wants cancelled.
SELECT id, attempt, cancel_requested_at IS NOT NULL AS cancel_requested
FROM jobs
WHERE state = 'running' AND worker_id = $1 AND queue = $2;

-- name: report_progress
-- Touches no indexed column, so that the new version stays on its page and no index grows.
UPDATE jobs SET progress = given.progress, progress_message = given.message
FROM unnest($2::bigint[], $3::smallint[], $4::real[], $5::text[]) AS given (id, attempt, progress, message)
WHERE jobs.id = given.id AND jobs.worker_id = $1 AND jobs.attempt = given.attempt;

-- name: hold_worker_lock
SELECT pg_try_advisory_lock(1819635049, $1);

-- name: end_own_session
-- The number of a worker is its own: another session with its lock is one that it lost, and the server has not noticed.
SELECT count(pg_terminate_backend(pid))
FROM job_sessions
WHERE role = 'worker' AND worker_id = $1 AND pid <> pg_backend_pid();

-- name: lead
-- Takes the leader's lock. From a leader whose session says nothing for $1 seconds it is taken away, for the next try.
SELECT
    pg_try_advisory_lock(1819635050, 0) AS leading,
    (
        SELECT count(pg_terminate_backend(pid))
        FROM job_sessions
        WHERE role = 'leader'
            AND pid IN (SELECT pid FROM pg_stat_activity WHERE usename = current_user)
            AND pid <> pg_backend_pid()
            AND seen_at < clock_timestamp() - $1::double precision * interval '1 second'
    ) AS deposed;

-- name: server_age
SELECT extract(epoch FROM now() - pg_postmaster_start_time())::double precision;

-- name: lost_workers
-- Workers with running jobs whose session is gone, or says nothing for $2 seconds (frozen).
SELECT running.worker_id, sessions.worker_id IS NOT NULL AS frozen
FROM (SELECT DISTINCT worker_id FROM jobs WHERE state = 'running') AS running
LEFT JOIN job_sessions AS sessions ON sessions.role = 'worker' AND sessions.worker_id = running.worker_id
WHERE running.worker_id <> $1
    AND (
        sessions.worker_id IS NULL
        OR sessions.seen_at < clock_timestamp() - $2::double precision * interval '1 second'
    );

-- name: rescue
-- Up to $3 jobs of the workers $1, unless they showed life again ($2 seconds).
WITH lost AS MATERIALIZED (
    SELECT jobs.id,
        CASE
            WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
            WHEN attempt < max_attempts THEN 'available'
            ELSE 'discarded'
        END AS state,
        append_job_error(errors, attempt, $4::text, $5::text) AS errors
    FROM jobs
    WHERE jobs.state = 'running'
        AND jobs.worker_id = ANY ($1::integer[])
        AND NOT EXISTS (
            SELECT
            FROM job_sessions AS sessions
            WHERE sessions.role = 'worker'
                AND sessions.worker_id = jobs.worker_id
                AND sessions.seen_at >= clock_timestamp() - $2::double precision * interval '1 second'
        )
    ORDER BY jobs.id
    LIMIT $3
    FOR UPDATE SKIP LOCKED
), again AS (
    UPDATE jobs SET
        state = lost.state, errors = lost.errors, worker_id = NULL, progress = NULL, progress_message = NULL
    FROM lost
    WHERE jobs.id = lost.id AND lost.state = 'available'
    RETURNING jobs.id
), gone AS (
    DELETE FROM jobs USING lost
    WHERE jobs.id = lost.id AND lost.state <> 'available'
    RETURNING jobs.*, lost.state AS final_state, lost.errors AS all_errors
), kept AS (
    INSERT INTO finished_jobs (
        id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, claimed_at, created_at,
        errors
    )
    SELECT
        id, kind, queue, key, args, final_state, priority, attempt, max_attempts, run_at, owner_id, claimed_at,
        created_at, all_errors
    FROM gone
    RETURNING id
)
SELECT id FROM again
UNION ALL
SELECT id FROM kept;

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

-- name: remove_completed
WITH old AS MATERIALIZED (
    SELECT id
    FROM finished_jobs
    WHERE state = 'completed' AND finished_at < now() - $1::double precision * interval '1 second'
    ORDER BY finished_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM finished_jobs WHERE id = ANY (ARRAY (SELECT id FROM old));

-- name: remove_failed
WITH old AS MATERIALIZED (
    SELECT id
    FROM finished_jobs
    WHERE state <> 'completed' AND finished_at < now() - $1::double precision * interval '1 second'
    ORDER BY finished_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM finished_jobs WHERE id = ANY (ARRAY (SELECT id FROM old));

-- name: schedule
-- Knows the periodic job from now on; its next run is new when its expression is.
INSERT INTO job_schedules (name, expression, next_run_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET
    next_run_at = CASE
        WHEN job_schedules.expression = excluded.expression THEN job_schedules.next_run_at ELSE excluded.next_run_at
    END,
    expression = excluded.expression
RETURNING next_run_at;

-- name: unschedule
DELETE FROM job_schedules WHERE NOT name = ANY ($1::text[]);

-- name: due_schedules
SELECT name, next_run_at, extract(epoch FROM next_run_at - now())::double precision AS seconds
FROM job_schedules
WHERE name = ANY ($1::text[]);

-- name: fire_schedule
-- Only one process gets the row: the one whose idea of the due moment ($2) is still true.
UPDATE job_schedules SET last_run_at = $2, next_run_at = $3 WHERE name = $1 AND next_run_at = $2;

-- name: notify
SELECT pg_notify('lumilio_jobs', $1);
