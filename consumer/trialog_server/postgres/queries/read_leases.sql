-- How far each partition of a generation is, and its chains; served by leases_pkey.
-- $1 generation
SELECT topic, partition, next_offset, coalesce(chain, ''::bytea) AS chain, chain_before
FROM trialog.leases WHERE generation = $1
