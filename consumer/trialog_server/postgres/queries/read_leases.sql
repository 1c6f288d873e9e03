-- How far each partition of a generation is; served by leases_pkey.
SELECT topic, partition, next_offset, chain FROM trialog.leases WHERE generation = $1
