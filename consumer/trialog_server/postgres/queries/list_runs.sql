-- One page of an experiment's live runs with parameters, metric summaries, newest artifacts and the total; runs_created serves the order by time, runs_named the order by name.
-- $1 account, $2 experiment name, $3 order, after which run: $4 its time, $5 its name, $6 its log offset, $7 its seq; $8 one more than the runs at most, $9 metric names after which a page ends
-- No row at all: there is no such experiment. A row without run_id: the page is empty.
-- Only the branch of the asked order is executed: the others end at their constant condition.
WITH experiment AS (
    SELECT e.experiment_id, e.name AS experiment_name, e.number AS experiment_number
    FROM experiments e
    WHERE e.account = $1 AND e.name = $2 AND e.deleted_at IS NULL
),
picked AS (
    (SELECT r.*, row_number() OVER (ORDER BY r.created_at DESC, r.log_offset DESC, r.seq DESC) AS place
     FROM runs r
     WHERE $3::text = 'CreationTime Descending' AND r.deleted_at IS NULL
       AND r.experiment_id = (SELECT experiment_id FROM experiment)
       AND (r.created_at, r.log_offset, r.seq)
         < (coalesce($4::timestamptz, 'infinity'), coalesce($6::bigint, 0), coalesce($7::bigint, 0))
     ORDER BY r.created_at DESC, r.log_offset DESC, r.seq DESC LIMIT $8)
    UNION ALL
    (SELECT r.*, row_number() OVER (ORDER BY r.created_at, r.log_offset, r.seq)
     FROM runs r
     WHERE $3 = 'CreationTime Ascending' AND r.deleted_at IS NULL
       AND r.experiment_id = (SELECT experiment_id FROM experiment)
       AND (r.created_at, r.log_offset, r.seq)
         > (coalesce($4::timestamptz, '-infinity'), coalesce($6, 0), coalesce($7, 0))
     ORDER BY r.created_at, r.log_offset, r.seq LIMIT $8)
    UNION ALL
    (SELECT r.*, row_number() OVER (ORDER BY r.name DESC, r.log_offset DESC, r.seq DESC)
     FROM runs r
     WHERE $3 = 'Name Descending' AND r.deleted_at IS NULL
       AND r.experiment_id = (SELECT experiment_id FROM experiment)
       AND ($5::text IS NULL OR (r.name, r.log_offset, r.seq) < ($5, $6, $7))
     ORDER BY r.name DESC, r.log_offset DESC, r.seq DESC LIMIT $8)
    UNION ALL
    (SELECT r.*, row_number() OVER (ORDER BY r.name, r.log_offset, r.seq)
     FROM runs r
     WHERE $3 = 'Name Ascending' AND r.deleted_at IS NULL
       AND r.experiment_id = (SELECT experiment_id FROM experiment)
       AND ($5 IS NULL OR (r.name, r.log_offset, r.seq) > ($5, $6, $7))
     ORDER BY r.name, r.log_offset, r.seq LIMIT $8)
),
sized AS (
    SELECT picked.*, count(*) OVER () AS found,
           sum(metric.names) OVER (ORDER BY picked.place) - metric.names AS names_before
    FROM picked
    CROSS JOIN LATERAL (
        SELECT count(*) AS names FROM metric_summaries m WHERE m.run_id = picked.run_id
    ) AS metric
),
page AS (
    SELECT sized.*, sized.name AS run_name, experiment.experiment_name,
           experiment.experiment_number, 0 AS key_rank, 0::double precision AS key_number, '' AS key_text
    FROM sized CROSS JOIN experiment
    WHERE sized.place < $8 AND sized.names_before < $9::bigint
),
counted AS MATERIALIZED (
    SELECT (SELECT count(*) FROM runs r
            WHERE r.experiment_id = experiment.experiment_id AND r.deleted_at IS NULL) AS total
    FROM experiment
)
-- then parts/run_rows
