-- Where a whole snapshot is, kept from being dropped until the transaction ends; served by snapshots_key_key.
-- $1 keys of which any will do
SELECT g.schema_name FROM trialog.snapshots AS s JOIN trialog.generations AS g USING (generation)
WHERE s.key = ANY ($1::text[]) AND s.is_whole
LIMIT 1
FOR KEY SHARE OF s
