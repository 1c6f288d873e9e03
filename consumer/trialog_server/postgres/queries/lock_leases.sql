-- Hold the positions of two generations where they are until the transaction ends.
-- Served by leases_pkey. $1 and $2 the generations
SELECT generation, topic, partition, owner, next_offset FROM trialog.leases
WHERE generation IN ($1, $2)
ORDER BY generation, topic, partition
FOR UPDATE
