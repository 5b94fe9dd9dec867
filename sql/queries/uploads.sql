-- name: jobs
SELECT
    args ->> 'upload_id' AS upload_id,
    bool_or(state NOT IN ('completed', 'discarded', 'cancelled')) AS live,
    bool_or(state IN ('discarded', 'cancelled')) AS given_up
FROM jobs
WHERE kind = 'process_asset' AND args ->> 'upload_id' = ANY ($1::text[])
GROUP BY 1;
