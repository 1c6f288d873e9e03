-- Position and chains of a partition whose claim is valid; served by leases_pkey.
-- $1 generation, $2 topic, $3 partition, $4 epoch
SELECT next_offset, coalesce(chain, ''::bytea) AS chain, chain_before FROM trialog.leases
WHERE generation = $1 AND topic = $2 AND partition = $3 AND epoch = $4 AND owner IS NOT NULL
