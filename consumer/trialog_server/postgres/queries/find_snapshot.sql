-- How far a snapshot is, and whether its maker has lost the word; served by snapshots_key_key. $1 key
SELECT is_whole, done, total, until < clock_timestamp() AS is_left FROM trialog.snapshots
WHERE key = $1
