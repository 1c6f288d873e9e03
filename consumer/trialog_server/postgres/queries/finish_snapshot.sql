-- Let questions have a snapshot that is whole; no row where it was taken away or is void; served by snapshots_pkey.
-- $1 generation
UPDATE trialog.snapshots SET is_whole = true, done = total, used_at = clock_timestamp()
WHERE generation = $1 AND until > '-infinity'
RETURNING generation
