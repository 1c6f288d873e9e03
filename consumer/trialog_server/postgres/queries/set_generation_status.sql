-- Say what a generation is from now on; served by generations_pkey.
-- $1 generation, $2 'live', 'building' or 'old'
UPDATE trialog.generations SET status = $2 WHERE generation = $1
