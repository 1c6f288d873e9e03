-- When the log took the creation of a live experiment or run after a time; served by experiments_live_name, runs_named or runs_pkey, then record_index_pkey.
-- $1 account, $2 experiment name or null, $3 run name or null for the experiment itself, $4 run id or null,
-- $5 topic of the catalog, which has one partition, $6 the time
WITH created AS (
    SELECT e.log_offset FROM experiments AS e
    WHERE e.account = $1 AND e.name = $2::text AND e.deleted_at IS NULL AND $3::text IS NULL
    UNION ALL
    SELECT r.log_offset FROM experiments AS e JOIN runs AS r USING (experiment_id)
    WHERE e.account = $1 AND e.name = $2 AND e.deleted_at IS NULL
      AND r.name = $3 AND r.deleted_at IS NULL
    UNION ALL
    SELECT r.log_offset FROM runs AS r WHERE r.account = $1 AND r.run_id = $4::uuid
)
SELECT min(i.at) AS at
FROM created
JOIN record_index AS i ON i.topic = $5 AND i.partition = 0 AND i.log_offset = created.log_offset
WHERE i.at > $6
