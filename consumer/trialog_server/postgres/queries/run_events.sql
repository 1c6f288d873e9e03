-- One page of the places in the log where a run's events are, deleted run or not; served by record_index_run.
-- $1 account, $2 run id, after which record: $3 topic, $4 offset; $5 rows at most
-- No row at all: there is no such run. A row without topic: it has no events yet. The topics'
-- names put the catalog first: a run is created there before anything else happens to it.
SELECT i.topic, i.partition, i.log_offset, i.types, i.at
FROM live.runs r
LEFT JOIN live.record_index i
    ON i.run_id = r.run_id AND ($3::text IS NULL OR (i.topic, i.log_offset) > ($3, $4::bigint))
WHERE r.account = $1 AND r.run_id = $2
ORDER BY i.topic, i.log_offset
LIMIT $5;
