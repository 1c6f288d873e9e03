-- List records that are set aside, each once; served by parked_pkey.
-- $1 … $6 the columns of the rows
INSERT INTO parked (run_id, topic, partition, log_offset, reason, at)
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::text[], $6::timestamptz[]
)
ON CONFLICT DO NOTHING
