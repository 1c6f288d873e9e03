-- Say that this worker lives and count the living of its generation; a table of few rows.
-- $1 owner, $2 seconds the word holds, $3 how owners of this generation begin
WITH beat AS (
    INSERT INTO trialog.workers (owner, until)
    VALUES ($1, clock_timestamp() + $2::double precision * interval '1 second')
    ON CONFLICT (owner) DO UPDATE SET until = EXCLUDED.until
),
gone AS (
    DELETE FROM trialog.workers
    WHERE owner <> $1 AND until < clock_timestamp() - interval '1 minute'
)
SELECT 1 + count(*) FROM trialog.workers
WHERE owner <> $1 AND starts_with(owner, $3) AND until > clock_timestamp()
