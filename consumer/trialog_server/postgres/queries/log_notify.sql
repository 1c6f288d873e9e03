-- Wakes the readers of other processes; run after the commit, so that it does not delay it.
SELECT pg_notify('trialog_log', changed) FROM unnest($1::text[]) AS changed
