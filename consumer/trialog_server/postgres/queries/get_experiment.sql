-- One live experiment by its name, its id or its number; served by experiments_live_name, experiments_pkey or the key of account and number.
-- $1 account, $2 name or null, $3 id or null, $4 number or null, $5 whether a deleted one is given as well
SELECT
    e.experiment_id,
    e.account,
    e.number,
    e.name,
    e.description,
    e.tags,
    e.created_at,
    e.created_by,
    e.deleted_at,
    e.modified_at,
    e.modified_by,
    (SELECT count(*) FROM runs r
     WHERE r.experiment_id = e.experiment_id AND r.deleted_at IS NULL) AS run_count
FROM experiments e
WHERE e.account = $1 AND ($5::bool OR e.deleted_at IS NULL)
  AND (e.name = $2::text OR e.experiment_id = $3::uuid OR e.number = $4::bigint);
