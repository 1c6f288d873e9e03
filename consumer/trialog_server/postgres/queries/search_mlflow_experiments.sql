-- One page of an account's experiments that meet every condition of MLflow's language, in its orders; the key of account and number serves the candidates.
-- $1 account, $2 'active', 'deleted' or 'all'
-- what is asked of each experiment, one array element each: $3 source, $4 name, $5 operator, or asc or desc of an order, $6 low, $7 high, $8 text, or list of texts as JSON
-- $9 the experiment after which the page begins or null, $10 experiments at most
-- Values are compared as MLflow's clients see them: their names, and times in milliseconds.
WITH asked AS MATERIALIZED (
    SELECT *, operator IN ('asc', 'desc') AS is_order, operator = 'is null' AS wants_none
    FROM unnest(
        $3::text[], $4::text[], $5::text[], $6::double precision[], $7::double precision[],
        $8::text[]
    ) WITH ORDINALITY AS a (source, name, operator, low, high, wanted, number)
),
candidate AS MATERIALIZED (
    SELECT e.* FROM experiments e
    WHERE e.account = $1 AND (
        $2::text = 'all' OR (e.deleted_at IS NULL) = ($2 = 'active') OR e.experiment_id = $9::uuid
    )
),
-- A tag that holds a name of MLflow's stands for the name, and is no tag to its clients.
value AS MATERIALIZED (
    SELECT a.number AS asked, e.experiment_id, NULL::double precision AS number,
           CASE WHEN a.name <> 'trialog.mlflow_name' THEN e.tags ->> a.name END AS text
    FROM asked a CROSS JOIN candidate e
    WHERE a.source = 'tags'
    UNION ALL
    SELECT a.number, e.experiment_id,
           CASE a.name
               WHEN 'creation_time' THEN floor(extract(epoch FROM e.created_at) * 1000)
               WHEN 'last_update_time' THEN
                   floor(extract(epoch FROM coalesce(e.modified_at, e.created_at)) * 1000)
               -- Compared as a text, sorted as a number.
               WHEN 'experiment_id' THEN CASE WHEN e.name = 'Default' THEN 0 ELSE e.number END
           END,
           CASE a.name
               WHEN 'name' THEN coalesce(nullif(e.tags ->> 'trialog.mlflow_name', ''), e.name)
               WHEN 'experiment_id' THEN
                   CASE WHEN e.name = 'Default' THEN '0' ELSE e.number::text END
           END
    FROM asked a CROSS JOIN candidate e
    WHERE a.source = 'own'
),
met AS (
    SELECT v.experiment_id
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
    GROUP BY v.experiment_id
    HAVING count(*) = (SELECT count(*) FROM asked WHERE NOT is_order AND NOT wants_none)
),
-- What was shown last has its place here whatever became of it, as in search_mlflow_runs.
matched AS MATERIALIZED (
    SELECT e.* FROM candidate e
    WHERE e.experiment_id = $9 OR (
        (NOT EXISTS (SELECT FROM asked WHERE NOT is_order AND NOT wants_none)
         OR e.experiment_id IN (SELECT met.experiment_id FROM met))
        AND e.experiment_id NOT IN (
            SELECT v.experiment_id FROM value v
            JOIN asked a ON a.number = v.asked AND a.wants_none WHERE v.text IS NOT NULL
        )
    )
),
-- Brought together by grouping, as in search_mlflow_runs.
sort_value AS (
    SELECT v.experiment_id, v.asked, max(v.operator) AS operator, max(v.number) AS number,
           max(v.text COLLATE "C") AS text, max(v.created_at) AS created_at,
           max(v.created_as) AS created_as
    FROM (
        SELECT e.experiment_id, a.number AS asked, a.operator, NULL::double precision AS number,
               NULL AS text, e.created_at, e.number AS created_as
        FROM matched e
        CROSS JOIN (
            SELECT number, operator FROM asked WHERE is_order
            UNION ALL
            SELECT 0, 'asc'
        ) AS a
        UNION ALL
        SELECT v.experiment_id, v.asked, NULL, v.number, v.text, NULL, NULL
        FROM value v
        WHERE v.asked IN (SELECT a.number FROM asked a WHERE a.is_order)
    ) AS v
    GROUP BY v.experiment_id, v.asked
    HAVING count(v.created_at) > 0
),
standing AS (
    SELECT v.*, dense_rank() OVER (
               PARTITION BY v.asked
               ORDER BY CASE WHEN v.operator = 'asc' THEN v.number ELSE - v.number END,
                   CASE WHEN v.operator = 'asc' THEN v.text END COLLATE "C",
                   CASE WHEN v.operator = 'desc' THEN v.text END COLLATE "C" DESC
           ) AS rank
    FROM sort_value v
),
sorted AS MATERIALIZED (
    SELECT standing.experiment_id, row_number() OVER (
               ORDER BY array_agg(standing.rank ORDER BY standing.asked),
                   max(standing.created_at) DESC, max(standing.created_as) DESC
           ) AS place
    FROM standing GROUP BY standing.experiment_id
)
SELECT
    e.experiment_id,
    e.account,
    e.number,
    e.name,
    e.description,
    e.tags,
    e.created_at,
    e.created_by,
    e.deleted_at,
    e.modified_at,
    e.modified_by,
    (SELECT count(*) FROM runs r
     WHERE r.experiment_id = e.experiment_id AND r.deleted_at IS NULL) AS run_count
FROM sorted
JOIN experiments e ON e.experiment_id = sorted.experiment_id
WHERE $9 IS NULL
   OR sorted.place > (SELECT before.place FROM sorted before WHERE before.experiment_id = $9)
ORDER BY sorted.place
LIMIT $10;
