-- One page of the refusals of a run, deleted or not, in order of the log; served by rejections_run.
-- $1 account, $2 run id, after which refusal: $3 topic, $4 offset, $5 writer, $6 seq, $7 item; $8 rows at most
-- No row at all: there is no such run. A row without code: nothing was refused.
SELECT
    j.run_id, j.writer_id, j.seq, j.item, j.code, j.message, j.name, j.value,
    j.facts, j.at, j.topic, j.partition, j.log_offset
FROM runs r
LEFT JOIN LATERAL (
    SELECT found.*
    FROM rejections found
    WHERE found.run_id = r.run_id
      AND (found.topic, found.log_offset, found.writer_id, found.seq, found.item)
        > (
            coalesce($3::text, ''), coalesce($4::bigint, -1),
            coalesce($5::uuid, '00000000-0000-0000-0000-000000000000'),
            coalesce($6::bigint, -1), coalesce($7::int, 0)
        )
    ORDER BY found.topic, found.log_offset, found.writer_id, found.seq, found.item
    LIMIT $8
) AS j ON true
WHERE r.account = $1 AND r.run_id = $2
ORDER BY j.topic, j.log_offset, j.writer_id, j.seq, j.item;
