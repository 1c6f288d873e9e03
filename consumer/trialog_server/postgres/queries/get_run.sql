-- One live run with parameters, metric summaries and newest artifacts, by id or by its experiment's and its own name; served by runs_pkey or runs_named.
-- $1 account, $2 run id or null, $3 experiment name or null, $4 run name or null, $5 whether a deleted one is given as well
-- Of several runs with one name (MLflow clients may make them) the one that does not share it is given, else the newest.
WITH page AS (
    SELECT r.*, r.name AS run_name, e.name AS experiment_name,
           e.number AS experiment_number, 1 AS place, 1 AS found,
           0 AS key_rank, 0::double precision AS key_number, '' AS key_text
    FROM (
        -- Two questions put together: an OR over both would be answered by reading every run.
        (SELECT r.* FROM runs r WHERE r.run_id = $2::uuid)
        UNION ALL
        (SELECT r.* FROM runs r
         WHERE r.name = $4::text AND r.deleted_at IS NULL AND r.experiment_id = (
             SELECT e.experiment_id FROM experiments e
             WHERE e.account = $1 AND e.name = $3::text AND e.deleted_at IS NULL
         )
         ORDER BY r.name_is_unique DESC, r.created_at DESC, r.log_offset DESC, r.seq DESC LIMIT 1)
    ) AS r
    JOIN experiments e ON e.experiment_id = r.experiment_id
    WHERE r.account = $1
      AND ($5::bool OR (r.deleted_at IS NULL AND e.deleted_at IS NULL))
    LIMIT 1
),
counted AS MATERIALIZED (
    SELECT count(*) AS total FROM page
)
-- then parts/run_rows
