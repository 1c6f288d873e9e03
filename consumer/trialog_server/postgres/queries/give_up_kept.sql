-- Keep what was replaced before no longer: nobody will return to it; a table of few rows.
UPDATE trialog.generations SET was_live = false WHERE status = 'old'
