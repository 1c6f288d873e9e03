-- Take chunks out of their table, to write them again as larger ones; served by metric_chunks_pkey.
-- $1 run id, $2 names and $3 first indexes, one of each a chunk
DELETE FROM metric_chunks AS chunk
USING unnest($2::text[], $3::bigint[]) AS chosen (name, first_index)
WHERE chunk.run_id = $1 AND chunk.name = chosen.name AND chunk.first_index = chosen.first_index
RETURNING chunk.name, chunk.first_index, chunk.points, chunk.step_min, chunk.step_max,
          chunk.offsets, chunk.counts, chunk.data
