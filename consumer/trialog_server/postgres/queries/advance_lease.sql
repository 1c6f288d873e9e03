-- Compare and move a partition's position, and announce it; served by leases_pkey.
-- $1 generation, $2 topic, $3 partition, $4 epoch, $5 position before, $6 position after,
-- $7 chain after, $8 seconds the claim holds, $9 '<topic short>:<partition>:<position after>',
-- $10 chain before the last record.
-- No row: another worker has the partition, and nobody is told anything.
UPDATE trialog.leases
SET next_offset = $6,
    chain = $7,
    chain_before = $10,
    until = clock_timestamp() + $8::double precision * interval '1 second'
WHERE generation = $1 AND topic = $2 AND partition = $3 AND epoch = $4 AND next_offset = $5
  AND owner IS NOT NULL
RETURNING set_config('synchronous_commit', 'off', true), pg_notify('trialog_applied', $9)
