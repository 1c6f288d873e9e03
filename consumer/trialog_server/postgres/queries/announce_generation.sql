-- Tell whoever listens for applied positions that other tables are live: those may stand elsewhere.
SELECT pg_notify('trialog_applied', 'generation')
