-- Every row of a table as text, in order; reads the whole table. $1 schema, $2 table
SELECT line FROM trialog.canonical_rows($1, $2) AS line
