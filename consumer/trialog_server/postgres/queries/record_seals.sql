-- Remember what the newest checkpoint covers; served by seals_pkey.
-- $1 topics, $2 partitions, $3 records, $4 chains, $5 when it was made
INSERT INTO trialog.seals (topic, partition, records, chain, made_at)
SELECT signed.*, $5 FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[]) AS signed
ON CONFLICT (topic, partition) DO UPDATE
SET records = EXCLUDED.records, chain = EXCLUDED.chain, made_at = EXCLUDED.made_at
