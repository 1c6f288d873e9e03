-- Take every partition of a generation from its owners, after the batches they are at.
-- Served by leases_pkey. $1 generation, $2 new owner, $3 seconds until the owners get them back
UPDATE trialog.leases
SET epoch = epoch + 1,
    owner = $2,
    until = clock_timestamp() + $3::double precision * interval '1 second'
WHERE generation = $1
