-- name: jobs
SELECT
    args ->> 'upload_id' AS upload_id,
    bool_or(live) AS live,
    bool_or(state IN ('discarded', 'cancelled')) AS given_up
FROM (
    SELECT args, state, true AS live FROM jobs WHERE kind = 'process_asset'
    UNION ALL
    SELECT args, state, false FROM finished_jobs WHERE kind = 'process_asset'
) AS known
WHERE args ->> 'upload_id' = ANY ($1::text[])
GROUP BY 1;
