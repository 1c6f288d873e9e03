-- Every generation, the newest first; a table of few rows.
SELECT generation, schema_name, status, purpose, was_live FROM trialog.generations
ORDER BY generation DESC
