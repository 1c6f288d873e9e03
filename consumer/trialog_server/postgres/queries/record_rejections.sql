-- Refusals of the events in the given records of one run; served by rejections_run.
-- $1 run id, $2 topics, $3 offsets, one of each a record
SELECT
    j.run_id, j.writer_id, j.seq, j.item, j.code, j.message, j.name, j.value,
    j.facts, j.at, j.topic, j.partition, j.log_offset
FROM live.rejections j
JOIN unnest($2::text[], $3::bigint[]) AS record (topic, log_offset)
    ON record.topic = j.topic AND record.log_offset = j.log_offset
WHERE j.run_id = $1
ORDER BY j.writer_id, j.seq, j.item;
