-- Steps and values (not times) of one metric of a live run, in order of arrival; served by metric_chunks_pkey.
-- $1 account, $2 run id, $3 metric name
-- The column is stored uncompressed, so that substring reads only the asked slices. OFFSET 0 keeps
-- the sort below them: it then moves references to the bytes, not the bytes.
SELECT
    chunk.points,
    substring(chunk.data FROM 1 FOR 8 * chunk.points) AS steps,
    substring(chunk.data FROM 16 * chunk.points + 1) AS metric_values
FROM (
    SELECT c.points, c.data
    FROM runs r
    LEFT JOIN metric_chunks c ON c.run_id = r.run_id AND c.name = $3
    WHERE r.account = $1 AND r.run_id = $2 AND r.deleted_at IS NULL
    ORDER BY c.first_index
    OFFSET 0
) AS chunk;
