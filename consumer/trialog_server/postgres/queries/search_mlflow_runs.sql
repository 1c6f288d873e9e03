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
-- run rows: this part is the same in list_runs, search_runs, search_mlflow_runs and get_run
SELECT
    counted.total,
    page.run_id,
    page.account,
    page.run_name,
    page.experiment_id,
    page.experiment_name,
    page.experiment_number,
    coalesce(s.status, 'InProgress') AS status,
    s.failure_message,
    page.created_at,
    page.deleted_at,
    coalesce(s.started_at, page.created_at) AS started_at,
    s.ended_at,
    coalesce(s.last_event_at, page.created_at) AS last_event_at,
    page.parent_run_id,
    (SELECT parent.name FROM runs parent
     WHERE parent.run_id = page.parent_run_id AND parent.account = page.account
       AND parent.deleted_at IS NULL) AS parent_run_name,
    page.created_by,
    page.tags,
    s.tags AS tags_set,
    s.limits,
    coalesce(s.points, 0) AS points,
    coalesce(s.rejected, 0) AS rejected,
    (SELECT coalesce(sum(gap.last_seq - gap.first_seq + 1), 0)::bigint FROM gaps gap
     WHERE gap.run_id = page.run_id) AS missing,
    parameter_rows.names AS parameter_names,
    parameter_rows.json_values AS parameter_values,
    metric_rows.names AS metric_names,
    metric_rows.last AS metric_last,
    metric_rows.last_step AS metric_last_step,
    metric_rows.last_at AS metric_last_at,
    metric_rows.min AS metric_min,
    metric_rows.max AS metric_max,
    metric_rows.mean AS metric_mean,
    metric_rows.points AS metric_points,
    artifact_rows.artifacts,
    page.log_offset,
    page.seq,
    page.found,
    page.place,
    page.key_rank,
    page.key_number,
    page.key_text
FROM counted
LEFT JOIN page ON true
LEFT JOIN run_states s ON s.run_id = page.run_id
LEFT JOIN LATERAL (
    SELECT array_agg(p.name ORDER BY p.name) AS names,
           array_agg(p.value ORDER BY p.name) AS json_values
    FROM parameters p WHERE p.run_id = page.run_id
) AS parameter_rows ON true
LEFT JOIN LATERAL (
    SELECT array_agg(m.name ORDER BY m.name) AS names,
           array_agg(m.last ORDER BY m.name) AS last,
           array_agg(m.last_step ORDER BY m.name) AS last_step,
           array_agg(m.last_at ORDER BY m.name) AS last_at,
           array_agg(m.min ORDER BY m.name) AS min,
           array_agg(m.max ORDER BY m.name) AS max,
           array_agg(m.total / nullif(m.counted, 0) ORDER BY m.name) AS mean,
           array_agg(m.points ORDER BY m.name) AS points
    FROM metric_summaries m WHERE m.run_id = page.run_id
) AS metric_rows ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object(
               'name', newest.name, 'version', newest.version, 'kind', newest.kind,
               'sha256', encode(newest.sha256, 'hex'), 'size', newest.size,
               'media_type', newest.media_type, 'is_output', newest.is_output,
               'uri', newest.uri, 'model', newest.model
           ) ORDER BY newest.name) AS artifacts
    FROM (
        SELECT DISTINCT ON (a.name) a.* FROM artifacts a
        WHERE a.run_id = page.run_id ORDER BY a.name, a.version DESC
    ) AS newest
) AS artifact_rows ON true
ORDER BY page.place;
