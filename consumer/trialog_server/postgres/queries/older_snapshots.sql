-- Whole snapshots whose catalog ends no later than a moment's, kept from being dropped until the transaction ends; a table of few rows.
-- $1 the last migration of this version's tables, $2 topic of the catalog, $3 where it ends then
SELECT s.generation, g.schema_name, l.next_offset
FROM trialog.snapshots AS s
JOIN trialog.generations AS g USING (generation)
JOIN trialog.leases AS l USING (generation)
WHERE s.is_whole AND l.topic = $2 AND l.next_offset BETWEEN 1 AND $3
  AND $1 = (SELECT max(m.name) FROM trialog.migrations AS m WHERE m.scope = g.schema_name)
ORDER BY l.next_offset DESC
FOR KEY SHARE OF s SKIP LOCKED
