-- Makes the schema of a generation where it is missing; see function trialog.make_schema.
SELECT trialog.make_schema($1)
