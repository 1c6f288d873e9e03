-- Mark runs of earlier batches as deleted; served by runs_pkey.
-- $1 run ids, $2 times
UPDATE runs AS run
SET deleted_at = gone.at
FROM unnest($1::uuid[], $2::timestamptz[]) AS gone (run_id, at)
WHERE run.run_id = gone.run_id
