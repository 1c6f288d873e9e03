-- Whether the migrations ran and a generation answers questions; served by generations_live.
SELECT g.generation, to_regclass('live.runs') IS NOT NULL AS has_tables
FROM trialog.generations g WHERE g.status = 'live';
