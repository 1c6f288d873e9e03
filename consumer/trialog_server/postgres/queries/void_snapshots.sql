-- Have no snapshot found any more, nor one that is being made finished, once other tables are live; a table of few rows.
UPDATE trialog.snapshots SET is_whole = false, until = '-infinity'
