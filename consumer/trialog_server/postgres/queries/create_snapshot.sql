-- Begin a snapshot under the next number below; unique where another one makes the same already.
-- $1 key, $2 seconds that its maker has the word
WITH numbered AS (
    SELECT nextval('trialog.snapshot_numbers')::int AS generation
),
made AS (
    INSERT INTO trialog.generations (generation, schema_name, status, purpose)
    SELECT generation, 'as_of_' || -generation, 'building', 'snapshot' FROM numbered
)
INSERT INTO trialog.snapshots (generation, key, until)
SELECT generation, $1, clock_timestamp() + $2::double precision * interval '1 second'
FROM numbered
RETURNING generation
