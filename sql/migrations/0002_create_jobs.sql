CREATE TABLE jobs (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CHECK (kind <> ''),
    queue        text NOT NULL CHECK (queue <> ''),
    key          text,
    args         jsonb NOT NULL,
    state        text NOT NULL CHECK (
        state IN ('available', 'scheduled', 'running', 'retryable', 'completed', 'cancelled', 'discarded')
    ),
    priority     smallint NOT NULL DEFAULT 0,
    attempt      smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL CHECK (max_attempts >= 1),
    run_at       timestamptz NOT NULL DEFAULT now(),
    owner_id     uuid,
    worker_id    integer,
    claimed_at   timestamptz,
    heartbeat_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    result       jsonb,
    errors       jsonb NOT NULL DEFAULT '[]',
    -- prevents more attempts than allowed, and a snooze that gives back more than it took
    CONSTRAINT jobs_attempt_check CHECK (attempt BETWEEN 0 AND max_attempts),
    -- prevents a waiting job whose claim would break the rule above and stop its whole queue
    CONSTRAINT jobs_attempt_left_check CHECK (
        state NOT IN ('available', 'scheduled', 'retryable') OR attempt < max_attempts
    ),
    -- prevents a late worker from owning a job that was rescued, and a running job that nobody answers for
    CONSTRAINT jobs_worker_check CHECK ((state = 'running') = (worker_id IS NOT NULL)),
    -- prevents a running job that can never be found frozen
    CONSTRAINT jobs_heartbeat_check CHECK (
        (state = 'running') = (heartbeat_at IS NOT NULL) AND (state <> 'running' OR claimed_at IS NOT NULL)
    ),
    -- prevents a final job that retention never finds, and the removal of a live one
    CONSTRAINT jobs_finished_check CHECK (
        (state IN ('completed', 'cancelled', 'discarded')) = (finished_at IS NOT NULL)
    ),
    -- prevents a result of work that did not succeed
    CONSTRAINT jobs_result_check CHECK (result IS NULL OR state = 'completed'),
    -- prevents errors that nobody can list
    CONSTRAINT jobs_errors_check CHECK (jsonb_typeof(errors) = 'array')
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02
);
COMMENT ON COLUMN jobs.queue IS 'the pool of slots that the job runs in';
COMMENT ON COLUMN jobs.key IS 'at most one job of a kind and key is not final; null: any number';
COMMENT ON COLUMN jobs.priority IS 'lower runs first';
COMMENT ON COLUMN jobs.attempt IS 'claims that count: snoozed and interrupted ones are given back';
COMMENT ON COLUMN jobs.worker_id IS 'who runs it; that process holds the advisory lock of this number while it lives';
COMMENT ON COLUMN jobs.errors IS 'the last 20 failed attempts: attempt, at, code, message';

-- The order of claims.
CREATE INDEX jobs_claim_idx ON jobs (queue, priority, run_at, id) WHERE state = 'available';
-- What becomes available when its time comes.
CREATE INDEX jobs_due_idx ON jobs (run_at) WHERE state IN ('scheduled', 'retryable');
-- Whose jobs a rescue has to look at.
CREATE INDEX jobs_running_idx ON jobs (worker_id) WHERE state = 'running';
-- What retention removes.
CREATE INDEX jobs_finished_idx ON jobs (finished_at) WHERE finished_at IS NOT NULL;
-- prevents two live jobs of one kind for the same thing
CREATE UNIQUE INDEX jobs_key_key ON jobs (kind, key)
    WHERE key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable');
