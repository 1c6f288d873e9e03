-- Say how far a snapshot is and keep the word; no row where it was taken away or is void; served by snapshots_pkey.
-- $1 generation, $2 records done, $3 of how many, $4 seconds that its maker has the word
UPDATE trialog.snapshots
SET done = $2, total = $3, until = clock_timestamp() + $4::double precision * interval '1 second'
WHERE generation = $1 AND until > '-infinity'
RETURNING generation
