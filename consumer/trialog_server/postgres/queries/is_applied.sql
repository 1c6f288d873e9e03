-- Whether what a writer has recorded is in the live tables, or set aside; served by the primary keys.
-- $1 run id, of the catalog all zeros, $2 writer id, $3 its last seq, $4 topic, $5 partition, $6 offset
SELECT
    EXISTS (
        SELECT FROM live.writers w WHERE w.run_id = $1 AND w.writer_id = $2 AND w.last_seq >= $3
    )
    OR EXISTS (
        SELECT FROM live.parked p WHERE p.topic = $4 AND p.partition = $5 AND p.log_offset = $6
    )
    OR EXISTS (
        SELECT FROM live.dead d WHERE d.topic = $4 AND d.partition = $5 AND d.log_offset = $6
    ) AS is_applied
