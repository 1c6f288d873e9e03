-- Move the modification time of experiments forward, never backward; served by experiments_pkey.
-- $1 experiment ids, $2 times, $3 who
UPDATE experiments AS experiment
SET modified_at = touched.at, modified_by = touched.by_whom
FROM unnest($1::uuid[], $2::timestamptz[], $3::jsonb[]) AS touched (experiment_id, at, by_whom)
WHERE experiment.experiment_id = touched.experiment_id
  AND (experiment.modified_at IS NULL OR experiment.modified_at < touched.at)
