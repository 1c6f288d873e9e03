-- Say that this worker is gone; served by workers_pkey.
-- $1 owner
DELETE FROM trialog.workers WHERE owner = $1
