-- Mark experiments of earlier batches as deleted; served by experiments_pkey.
-- $1 experiment ids, $2 times, $3 offsets of the events that deleted them
UPDATE experiments AS experiment
SET deleted_at = gone.at, deleted_offset = gone.log_offset
FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) AS gone (experiment_id, at, log_offset)
WHERE experiment.experiment_id = gone.experiment_id
