-- One page of the places in the log where a run's events are, deleted run or not; served by record_index_run.
-- $1 account, $2 run id, after which record: $3 topic, $4 offset; $5 rows at most
-- No row at all: there is no such run. A row without topic: it has no events yet. The topics'
-- names put the catalog first: a run is created there before anything else happens to it.
SELECT i.topic, i.partition, i.log_offset
FROM live.runs r
LEFT JOIN LATERAL (
    SELECT found.topic, found.partition, found.log_offset
    FROM live.record_index found
    WHERE found.run_id = r.run_id
      AND (found.topic, found.log_offset) > (coalesce($3::text, ''), coalesce($4::bigint, -1))
    ORDER BY found.topic, found.log_offset
    LIMIT $5
) AS i ON true
WHERE r.account = $1 AND r.run_id = $2
ORDER BY i.topic, i.log_offset;
