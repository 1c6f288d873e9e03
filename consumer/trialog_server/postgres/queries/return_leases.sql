-- Free what an owner has of a generation; served by leases_pkey.
-- $1 generation, $2 owner
UPDATE trialog.leases SET owner = NULL, until = NULL WHERE generation = $1 AND owner = $2
