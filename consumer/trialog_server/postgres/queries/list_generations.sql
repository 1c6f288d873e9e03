-- Generations whose tables follow this version; a table of few rows. A snapshot is soon dropped.
SELECT generation, schema_name FROM trialog.generations
WHERE status <> 'old' AND purpose <> 'snapshot'
ORDER BY generation
