-- Where the chunks of some series of a run lie, without their data; served by metric_chunks_pkey.
-- $1 run id, $2 metric names
SELECT name, first_index, points FROM metric_chunks
WHERE run_id = $1 AND name = ANY ($2::text[])
ORDER BY name, first_index
