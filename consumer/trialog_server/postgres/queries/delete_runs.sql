-- Mark runs of earlier batches as deleted; served by runs_pkey.
-- $1 run ids, $2 times, $3 offsets of the events that deleted them
UPDATE runs AS run
SET deleted_at = gone.at, deleted_offset = gone.log_offset
FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) AS gone (run_id, at, log_offset)
WHERE run.run_id = gone.run_id
