-- One page of the runs of several experiments that meet every condition of MLflow's language, in its orders; runs_created serves the candidates, parameters_pkey and metric_summaries_pkey what is asked of them.
-- $1 account, which experiments: $2 numbers, $3 names; $4 'active', 'deleted' or 'all'
-- what is asked of each run, one array element each: $5 source, $6 name, $7 operator, or asc or desc of an order, $8 low, $9 high, $10 text, or list of texts as JSON
-- $11 the run after which the page begins or null, $12 one more than the runs at most, $13 names of metrics and parameters after which a page ends
-- A row without run_id: the page is empty. Values are compared as MLflow's clients see them: a parameter is a text, a time milliseconds.
WITH experiment AS (
    SELECT e.experiment_id, e.name AS experiment_name, e.number AS experiment_number,
           CASE WHEN e.name = 'Default' THEN '0' ELSE e.number::text END AS mlflow_id
    FROM experiments e
    WHERE e.account = $1 AND (e.number = ANY ($2::bigint[]) OR e.name = ANY ($3::text[]))
),
asked AS MATERIALIZED (
    SELECT *, operator IN ('asc', 'desc') AS is_order, operator = 'is null' AS wants_none
    FROM unnest(
        $5::text[], $6::text[], $7::text[], $8::double precision[], $9::double precision[],
        $10::text[]
    ) WITH ORDINALITY AS a (source, name, operator, low, high, wanted, number)
),
candidate AS MATERIALIZED (
    SELECT r.run_id, r.name, r.created_at, r.created_by, r.parent_run_id, r.log_offset, r.seq,
           r.tags, s.tags AS tags_set, s.status, s.failure_message,
           coalesce(s.started_at, r.created_at) AS started_at, s.ended_at, e.mlflow_id
    FROM experiment e
    JOIN runs r ON r.experiment_id = e.experiment_id
    LEFT JOIN run_states s ON s.run_id = r.run_id
    WHERE $4::text = 'all' OR (r.deleted_at IS NULL) = ($4 = 'active') OR r.run_id = $11::uuid
),
-- A run has at most one value for what is asked; a row without number and text has none.
value AS MATERIALIZED (
    SELECT a.number AS asked, p.run_id, NULL::double precision AS number,
           CASE p.value WHEN 'true' THEN 'True' WHEN 'false' THEN 'False' WHEN 'null' THEN 'None'
                        ELSE p.value::json #>> ARRAY[]::text[] END AS text
    FROM asked a
    CROSS JOIN candidate r
    JOIN parameters p ON p.run_id = r.run_id AND p.name = a.name
    WHERE a.source = 'params' AND 'params' = ANY ($5)
    UNION ALL
    SELECT a.number, m.run_id, m.last, NULL
    FROM asked a
    CROSS JOIN candidate r
    JOIN metric_summaries m ON m.run_id = r.run_id AND m.name = a.name
    WHERE a.source = 'metrics' AND 'metrics' = ANY ($5)
    UNION ALL
    -- A tag set later stands before one of the creation; null is one that was removed.
    SELECT a.number, r.run_id, NULL,
           CASE a.name
               WHEN 'mlflow.runName' THEN coalesce(nullif(given.text, ''), r.name)
               WHEN 'mlflow.user' THEN coalesce(given.text, r.created_by ->> 'user', '')
               WHEN 'mlflow.parentRunId' THEN
                   coalesce(given.text, replace(r.parent_run_id::text, '-', ''))
               ELSE given.text
           END
    FROM asked a
    CROSS JOIN candidate r
    CROSS JOIN LATERAL (
        SELECT CASE WHEN r.tags_set ? a.name THEN r.tags_set ->> a.name
                    ELSE r.tags ->> a.name END AS text
    ) AS given
    WHERE a.source = 'tags' AND 'tags' = ANY ($5)
    UNION ALL
    SELECT a.number, r.run_id,
           floor(extract(epoch FROM CASE a.name WHEN 'start_time' THEN r.started_at
                                                WHEN 'end_time' THEN r.ended_at END) * 1000),
           CASE a.name
               WHEN 'run_id' THEN replace(r.run_id::text, '-', '')
               WHEN 'run_name' THEN coalesce(nullif(CASE
                   WHEN r.tags_set ? 'mlflow.runName' THEN r.tags_set ->> 'mlflow.runName'
                   ELSE r.tags ->> 'mlflow.runName' END, ''), r.name)
               WHEN 'user_id' THEN coalesce(CASE
                   WHEN r.tags_set ? 'mlflow.user' THEN r.tags_set ->> 'mlflow.user'
                   ELSE r.tags ->> 'mlflow.user' END, r.created_by ->> 'user', '')
               WHEN 'status' THEN CASE
                   WHEN r.status = 'Completed' THEN 'FINISHED'
                   WHEN r.status = 'Failed' AND r.failure_message = 'KILLED' THEN 'KILLED'
                   WHEN r.status = 'Failed' THEN 'FAILED'
                   ELSE 'RUNNING'
               END
               WHEN 'artifact_uri' THEN 'mlflow-artifacts:/' || r.mlflow_id || '/'
                   || replace(r.run_id::text, '-', '') || '/artifacts'
           END
    FROM asked a
    CROSS JOIN candidate r
    WHERE a.source = 'own' AND 'own' = ANY ($5)
),
met AS (
    SELECT v.run_id
    FROM value v
    JOIN asked a ON a.number = v.asked AND NOT a.is_order AND NOT a.wants_none
    WHERE CASE a.operator
        WHEN 'within' THEN v.number BETWEEN a.low AND a.high
        WHEN 'outside' THEN v.number NOT BETWEEN a.low AND a.high
        WHEN '=' THEN v.text = a.wanted COLLATE "C"
        WHEN '!=' THEN v.text <> a.wanted COLLATE "C"
        WHEN 'like' THEN v.text LIKE a.wanted COLLATE "C" ESCAPE ''
        WHEN 'ilike' THEN v.text ILIKE a.wanted COLLATE "default" ESCAPE ''
        WHEN 'in' THEN a.wanted::jsonb ? v.text
        WHEN 'not in' THEN NOT a.wanted::jsonb ? v.text
        WHEN 'is not null' THEN v.text IS NOT NULL
    END
    GROUP BY v.run_id
    HAVING count(*) = (SELECT count(*) FROM asked WHERE NOT is_order AND NOT wants_none)
),
-- The run that was shown last has its place here whatever became of it since: who deletes what a
-- page shows, or makes it meet the filter no longer, finds all that come after it on the next page.
matched AS MATERIALIZED (
    SELECT r.* FROM candidate r
    WHERE r.run_id = $11 OR (
        (NOT EXISTS (SELECT FROM asked WHERE NOT is_order AND NOT wants_none)
         OR r.run_id IN (SELECT met.run_id FROM met))
        AND r.run_id NOT IN (
            SELECT v.run_id FROM value v JOIN asked a ON a.number = v.asked AND a.wants_none
            WHERE v.text IS NOT NULL
        )
    )
),
-- What each run is sorted by, beside the order 0, by which all are equal. Brought together by
-- grouping: nothing tells Postgres how many rows are matched, and joins of what it takes for few
-- rows would compare every run with every other.
sort_value AS (
    SELECT v.run_id, v.asked, max(v.operator) AS operator, max(v.number) AS number,
           max(v.text COLLATE "C") AS text, max(v.started_at) AS started_at,
           max(v.log_offset) AS log_offset, max(v.seq) AS seq
    FROM (
        SELECT r.run_id, a.number AS asked, a.operator, NULL::double precision AS number,
               NULL AS text, r.started_at, r.log_offset, r.seq
        FROM matched r
        CROSS JOIN (
            SELECT number, operator FROM asked WHERE is_order
            UNION ALL
            SELECT 0, 'asc'
        ) AS a
        UNION ALL
        SELECT v.run_id, v.asked, NULL, v.number, v.text, NULL, NULL, NULL
        FROM value v
        WHERE v.asked IN (SELECT a.number FROM asked a WHERE a.is_order)
    ) AS v
    GROUP BY v.run_id, v.asked
    HAVING count(v.started_at) > 0
),
-- Where a run stands by each order alone; those that are equal stand together, what is missing last
-- in either direction, behind NaN.
standing AS (
    SELECT v.*, dense_rank() OVER (
               PARTITION BY v.asked
               ORDER BY CASE WHEN v.number = 'NaN' THEN 1
                             WHEN v.number IS NULL AND v.text IS NULL THEN 2 ELSE 0 END,
                   CASE WHEN v.operator = 'asc' THEN v.number ELSE - v.number END,
                   CASE WHEN v.operator = 'asc' THEN v.text END COLLATE "C",
                   CASE WHEN v.operator = 'desc' THEN v.text END COLLATE "C" DESC
           ) AS rank
    FROM sort_value v
),
sorted AS MATERIALIZED (
    SELECT standing.run_id, row_number() OVER (
               ORDER BY array_agg(standing.rank ORDER BY standing.asked),
                   max(standing.started_at) DESC, max(standing.log_offset) DESC,
                   max(standing.seq) DESC
           ) AS place
    FROM standing GROUP BY standing.run_id
),
picked AS (
    SELECT sorted.*, count(*) OVER () AS found
    FROM (
        SELECT sorted.* FROM sorted
        WHERE $11 IS NULL
           OR sorted.place > (SELECT before.place FROM sorted before WHERE before.run_id = $11)
        ORDER BY sorted.place LIMIT $12
    ) AS sorted
),
sized AS (
    SELECT picked.*, row_number() OVER (ORDER BY picked.place) AS nth,
           sum(logged.names) OVER (ORDER BY picked.place) - logged.names AS names_before
    FROM picked
    CROSS JOIN LATERAL (
        SELECT (SELECT count(*) FROM metric_summaries m WHERE m.run_id = picked.run_id)
             + (SELECT count(*) FROM parameters p WHERE p.run_id = picked.run_id) AS names
    ) AS logged
),
page AS (
    SELECT r.*, r.name AS run_name, experiment.experiment_name, experiment.experiment_number,
           sized.found, sized.place, 0 AS key_rank, 0::double precision AS key_number,
           '' AS key_text
    FROM sized
    JOIN runs r ON r.run_id = sized.run_id
    JOIN experiment ON experiment.experiment_id = r.experiment_id
    WHERE sized.nth < $12 AND sized.names_before < $13::bigint
),
counted AS MATERIALIZED (
    SELECT (SELECT count(*) FROM matched) AS total
)
-- then parts/run_rows
