-- Begin a generation with another one's catalog and all that it holds of some runs; reads whole tables.
-- $1 generation to copy, $2 the empty one, $3 topic of the catalog, $4 run ids
SELECT trialog.copy_generation($1, $2, $3, $4)
