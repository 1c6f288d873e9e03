-- The packed chunks of one metric of a live run, in order of arrival; served by metric_chunks_pkey.
-- $1 account, $2 run id, $3 metric name, $4 index before which the points are wanted
-- No row at all: there is no such run. A row without data: the run has no such metric.
SELECT c.points, c.data
FROM runs r
LEFT JOIN metric_chunks c
    ON c.run_id = r.run_id AND c.name = $3 AND c.first_index < $4
WHERE r.account = $1 AND r.run_id = $2 AND r.deleted_at IS NULL
ORDER BY c.first_index;
