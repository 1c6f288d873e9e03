-- Note that a snapshot was asked, at most once a second; served by snapshots_key_key. $1 keys
UPDATE trialog.snapshots SET used_at = clock_timestamp()
WHERE key = ANY ($1::text[]) AND is_whole AND used_at < clock_timestamp() - interval '1 second'
