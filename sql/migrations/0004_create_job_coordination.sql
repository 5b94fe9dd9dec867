CREATE TABLE job_queues (
    name      text PRIMARY KEY,
    paused_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE job_queues IS 'queues that are paused: nothing of them is claimed';

CREATE TABLE job_schedules (
    name        text PRIMARY KEY,
    expression  text NOT NULL,
    next_run_at timestamptz NOT NULL,
    last_run_at timestamptz
);
COMMENT ON TABLE job_schedules IS 'when each periodic job is due next: the row that lets only one process enqueue it';

-- Workers and the leader are sessions that hold an advisory lock, so that one that died is gone at once, and one that
-- froze has a session that says nothing. Idle workers write nothing: disks may sleep.
CREATE VIEW job_sessions AS
SELECT
    CASE locks.classid WHEN 1819635049 THEN 'worker' ELSE 'leader' END AS role,
    locks.objid::bigint AS worker_id,
    locks.pid,
    activity.application_name AS name,
    activity.state_change AS seen_at
FROM pg_locks AS locks
JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
WHERE locks.locktype = 'advisory'
    AND locks.granted
    AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND locks.classid IN (1819635049, 1819635050)
    AND locks.objsubid = 2;
COMMENT ON VIEW job_sessions IS 'seen_at is when the session last did something; null where the role may not see it';
