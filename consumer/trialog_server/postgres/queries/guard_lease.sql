-- Lock a partition's row while its claim is valid; served by leases_pkey.
-- $1 generation, $2 topic, $3 partition, $4 epoch. No row: another worker has the partition.
SELECT set_config('synchronous_commit', 'off', true) FROM (
    SELECT 1 FROM trialog.leases
    WHERE generation = $1 AND topic = $2 AND partition = $3 AND epoch = $4 AND owner IS NOT NULL
    FOR UPDATE
) AS held
