-- Every stored piece of every series, in the order of the series; served by metric_chunks_pkey.
SELECT run_id, name, first_index, points, offsets, counts, data FROM metric_chunks
ORDER BY run_id, name, first_index
