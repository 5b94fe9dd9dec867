-- Final jobs move to a table of their own, so that the one that is worked on stays small however many ran.
CREATE TABLE finished_jobs (
    id           bigint PRIMARY KEY,
    kind         text NOT NULL,
    queue        text NOT NULL,
    key          text,
    args         jsonb NOT NULL,
    state        text NOT NULL CHECK (state IN ('completed', 'cancelled', 'discarded')),
    priority     smallint NOT NULL,
    attempt      smallint NOT NULL,
    max_attempts smallint NOT NULL,
    run_at       timestamptz NOT NULL,
    owner_id     uuid,
    claimed_at   timestamptz,
    created_at   timestamptz NOT NULL,
    finished_at  timestamptz NOT NULL DEFAULT now(),
    result       jsonb,
    errors       jsonb NOT NULL,
    -- prevents a result of work that did not succeed
    CONSTRAINT finished_jobs_result_check CHECK (result IS NULL OR state = 'completed')
) WITH (
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);
COMMENT ON TABLE finished_jobs IS 'jobs that are over, until their retention is; an id is here or in jobs, never in both';

INSERT INTO finished_jobs (
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, claimed_at, created_at,
    finished_at, result, errors
)
SELECT
    id, kind, queue, key, args, state, 1, attempt, max_attempts, run_at, owner_id, claimed_at, created_at,
    finished_at, result, errors
FROM jobs
WHERE finished_at IS NOT NULL;
DELETE FROM jobs WHERE finished_at IS NOT NULL;

-- What retention removes and what has just ended; failed jobs stay longer and are few.
CREATE INDEX finished_jobs_completed_idx ON finished_jobs (finished_at, id) WHERE state = 'completed';
CREATE INDEX finished_jobs_failed_idx ON finished_jobs (finished_at, id) WHERE state <> 'completed';
CREATE INDEX finished_jobs_failed_id_idx ON finished_jobs (id) WHERE state <> 'completed';
CREATE INDEX finished_jobs_owner_idx ON finished_jobs (owner_id, id) WHERE owner_id IS NOT NULL;

DROP INDEX jobs_claim_idx, jobs_due_idx, jobs_running_idx, jobs_finished_idx, jobs_key_key;
ALTER TABLE jobs
    DROP CONSTRAINT jobs_state_check,
    DROP CONSTRAINT jobs_heartbeat_check,
    DROP CONSTRAINT jobs_finished_check,
    DROP CONSTRAINT jobs_result_check,
    DROP CONSTRAINT jobs_attempt_left_check,
    DROP COLUMN heartbeat_at,
    DROP COLUMN finished_at,
    DROP COLUMN result,
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN progress real,
    ADD COLUMN progress_message text,
    ALTER COLUMN priority SET DEFAULT 1;
UPDATE jobs SET priority = 1;
ALTER TABLE jobs
    ADD CONSTRAINT jobs_state_check CHECK (state IN ('available', 'scheduled', 'running', 'retryable')),
    -- prevents a job of a priority that no claim looks for
    ADD CONSTRAINT jobs_priority_check CHECK (priority BETWEEN 0 AND 3),
    -- prevents a waiting job whose claim would break the rule of attempts and stop its whole queue
    ADD CONSTRAINT jobs_attempt_left_check CHECK (state = 'running' OR attempt < max_attempts),
    -- prevents an attempt that was not counted, and one of which nobody knows since when it runs
    ADD CONSTRAINT jobs_claimed_check CHECK (state <> 'running' OR (attempt >= 1 AND claimed_at IS NOT NULL)),
    -- prevents a wish to cancel that outlives the attempt, and would end the next one
    ADD CONSTRAINT jobs_cancel_check CHECK (cancel_requested_at IS NULL OR state = 'running'),
    ADD CONSTRAINT jobs_progress_check CHECK (progress BETWEEN 0 AND 1);
COMMENT ON COLUMN jobs.priority IS '0 interactive, 1 normal, 2 background, 3 idle; lower runs first';
COMMENT ON COLUMN jobs.worker_id IS 'who runs it; that process holds the advisory lock of this number while it lives';
COMMENT ON COLUMN jobs.progress IS 'share of the work that is done, from 0 to 1';

-- The order of claims.
CREATE INDEX jobs_claim_idx ON jobs (queue, priority, run_at, id) WHERE state = 'available';
-- What becomes available when its time comes.
CREATE INDEX jobs_due_idx ON jobs (run_at) WHERE state IN ('scheduled', 'retryable');
-- Whose jobs a rescue has to look at.
CREATE INDEX jobs_running_idx ON jobs (worker_id) WHERE state = 'running';
CREATE INDEX jobs_owner_idx ON jobs (owner_id, id) WHERE owner_id IS NOT NULL;
-- prevents two live jobs of one kind for the same thing
CREATE UNIQUE INDEX jobs_key_key ON jobs (kind, key) WHERE key IS NOT NULL;

-- The last 20 failed attempts: a job that is retried for ever must not grow for ever.
CREATE FUNCTION append_job_error(errors jsonb, attempt smallint, code text, message text) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE WHEN jsonb_array_length(errors) >= 20 THEN errors - 0 ELSE errors END
    || jsonb_build_object('attempt', attempt, 'at', now(), 'code', code, 'message', message);

CREATE VIEW all_jobs AS
SELECT
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    NULL::timestamptz AS finished_at, NULL::jsonb AS result, errors, progress, progress_message,
    cancel_requested_at IS NOT NULL AS cancel_requested
FROM jobs
UNION ALL
SELECT
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, claimed_at,
    finished_at, result, errors, NULL, NULL, false
FROM finished_jobs;
COMMENT ON VIEW all_jobs IS 'what people see: a state that only one of the tables can have is looked for in that one';
