-- Mark experiments of earlier batches as deleted; served by experiments_pkey.
-- $1 experiment ids, $2 times
UPDATE experiments AS experiment
SET deleted_at = gone.at
FROM unnest($1::uuid[], $2::timestamptz[]) AS gone (experiment_id, at)
WHERE experiment.experiment_id = gone.experiment_id
