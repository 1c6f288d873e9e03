-- Begin a generation under the next number; a table of few rows. $1 'rebuild' or 'verify'
INSERT INTO trialog.generations (generation, schema_name, status, purpose)
SELECT max(generation) + 1, 'gen_' || max(generation) + 1, 'building', $1 FROM trialog.generations
RETURNING generation
