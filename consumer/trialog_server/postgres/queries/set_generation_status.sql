-- Say what a generation is from now on; served by generations_pkey.
-- $1 generation, $2 'live', 'building' or 'old'
UPDATE trialog.generations SET status = $2, was_live = was_live OR $2 = 'live' WHERE generation = $1
