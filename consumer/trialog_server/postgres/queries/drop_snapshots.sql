-- Drop every snapshot that is whole, once nobody reads it; a table of few rows.
WITH over AS MATERIALIZED (
    SELECT generation FROM trialog.snapshots WHERE is_whole FOR UPDATE
)
SELECT trialog.drop_generation(generation) FROM over
