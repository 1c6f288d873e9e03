-- Drop snapshots that nobody asks at the moment: of dead makers, void, unused, or too many; a table of few rows.
-- $1 seconds unused, $2 how many are kept
WITH over AS MATERIALIZED (
    SELECT generation FROM trialog.snapshots
    WHERE CASE
        WHEN is_whole THEN
            used_at < clock_timestamp() - $1::double precision * interval '1 second'
            OR generation NOT IN (
                SELECT generation FROM trialog.snapshots
                WHERE is_whole ORDER BY used_at DESC, generation LIMIT $2::int
            )
        ELSE until < clock_timestamp()
    END
    FOR UPDATE SKIP LOCKED
)
SELECT trialog.drop_generation(generation) FROM over
