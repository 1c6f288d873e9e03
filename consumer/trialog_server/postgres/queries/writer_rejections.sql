-- Refusals of one writer's events in the given runs; served by rejections_pkey.
-- $1 run ids, $2 writer id, $3 first seq, $4 last seq, $5 rows at most
SELECT
    j.run_id, j.writer_id, j.seq, j.item, j.code, j.message, j.name, j.value,
    j.facts, j.at, j.topic, j.partition, j.log_offset
FROM live.rejections j
WHERE j.run_id = ANY($1::uuid[]) AND j.writer_id = $2 AND j.seq BETWEEN $3 AND $4
ORDER BY j.seq, j.item
LIMIT $5;
