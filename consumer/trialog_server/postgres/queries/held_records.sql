-- How many records of each run a generation has, and the newest of them; served by record_index_run and parked_run.
-- $1 topic of events, $2 run ids
SELECT held.run_id, count(*) AS records, max(held.log_offset) AS newest
FROM (
    SELECT i.run_id, i.log_offset FROM record_index AS i
    WHERE i.topic = $1 AND i.run_id = ANY ($2::uuid[])
    UNION
    SELECT p.run_id, p.log_offset FROM parked AS p
    WHERE p.topic = $1 AND p.run_id = ANY ($2::uuid[])
) AS held
GROUP BY held.run_id
