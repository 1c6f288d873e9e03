-- Make the lease rows of partitions that have none; served by leases_pkey.
-- $1 generation, $2 topics, $3 partitions
INSERT INTO trialog.leases (generation, topic, partition)
SELECT $1::int, declared.topic, declared.partition
FROM unnest($2::text[], $3::int[]) AS declared (topic, partition)
ON CONFLICT DO NOTHING
