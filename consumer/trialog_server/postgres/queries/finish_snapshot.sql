-- Let questions have a snapshot that is whole; served by snapshots_pkey. $1 generation
UPDATE trialog.snapshots SET is_whole = true, done = total, used_at = clock_timestamp()
WHERE generation = $1
RETURNING generation
