-- One live experiment by its name or its id; served by experiments_live_name or experiments_pkey.
-- $1 account, $2 name or null, $3 id or null
SELECT
    e.experiment_id,
    e.account,
    e.number,
    e.name,
    e.description,
    e.tags,
    e.created_at,
    e.created_by,
    e.modified_at,
    e.modified_by,
    (SELECT count(*) FROM live.runs r
     WHERE r.experiment_id = e.experiment_id AND r.deleted_at IS NULL) AS run_count
FROM live.experiments e
WHERE e.account = $1 AND e.deleted_at IS NULL AND (e.name = $2::text OR e.experiment_id = $3::uuid);
