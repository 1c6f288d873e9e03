-- Generations whose tables follow this version; a table of few rows.
SELECT generation, schema_name FROM trialog.generations WHERE status <> 'old' ORDER BY generation
