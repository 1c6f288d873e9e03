-- One page of the refusals of a run, deleted or not, in order of the log; served by rejections_pkey (all of the run, then sorted).
-- $1 account, $2 run id, after which refusal: $3 topic, $4 offset, $5 writer, $6 seq, $7 item; $8 rows at most
-- No row at all: there is no such run. A row without code: nothing was refused.
SELECT
    j.run_id, j.writer_id, j.seq, j.item, j.code, j.message, j.name, j.value,
    j.facts, j.at, j.topic, j.partition, j.log_offset
FROM live.runs r
LEFT JOIN live.rejections j
    ON j.run_id = r.run_id
    AND ($3::text IS NULL OR (j.topic, j.log_offset, j.writer_id, j.seq, j.item)
        > ($3, $4::bigint, $5::uuid, $6::bigint, $7::int))
WHERE r.account = $1 AND r.run_id = $2
ORDER BY j.topic, j.log_offset, j.writer_id, j.seq, j.item
LIMIT $8;
