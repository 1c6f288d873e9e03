-- Where the events of each of some runs are, up to where each partition ends, deleted runs too; served by the keys of the runs, then by record_index_run.
-- $1 account, $2 experiment name or null, $3 run name or null for all in it, $4 run id or null,
-- $5 id of a parent or null, $6 topic of events, $7 partitions, $8 their ends
WITH asked AS MATERIALIZED (
    SELECT r.run_id FROM experiments AS e JOIN runs AS r USING (experiment_id)
    WHERE e.account = $1 AND e.name = $2::text AND ($3::text IS NULL OR r.name = $3)
    UNION
    SELECT r.run_id FROM runs AS r WHERE r.run_id = $4::uuid
    UNION
    SELECT r.run_id FROM runs AS r WHERE r.parent_run_id = $5::uuid
),
found AS (
    SELECT i.run_id, i.partition, i.log_offset
    FROM asked JOIN record_index AS i ON i.run_id = asked.run_id AND i.topic = $6
    UNION
    SELECT p.run_id, p.partition, p.log_offset
    FROM asked JOIN parked AS p ON p.run_id = asked.run_id AND p.topic = $6
)
SELECT found.run_id, found.partition, array_agg(found.log_offset ORDER BY found.log_offset) AS offsets
FROM found
JOIN unnest($7::int[], $8::bigint[]) AS ends (partition, before)
    ON ends.partition = found.partition AND found.log_offset < ends.before
GROUP BY found.run_id, found.partition
