-- List records or events that cannot be read, each record once for a reason; served by dead_pkey.
-- $1 … $5 the columns of the rows
INSERT INTO dead (topic, partition, log_offset, reason, at)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::timestamptz[])
ON CONFLICT DO NOTHING
