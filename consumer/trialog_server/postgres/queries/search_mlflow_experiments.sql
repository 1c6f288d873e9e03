-- One page of an account's experiments that meet every condition of MLflow's language, in its orders; the key of account and number serves the candidates.
-- $1 account, $2 'active', 'deleted' or 'all'
-- what is asked of each experiment, one array element each: $3 source, $4 name, $5 operator, or asc or desc of an order, $6 low, $7 high, $8 text, or list of texts as JSON
-- $9 the experiment after which the page begins, $10 its place when it was shown, $11 experiments at most
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
    WHERE e.account = $1 AND ($2::text = 'all' OR (e.deleted_at IS NULL) = ($2 = 'active'))
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
matched AS MATERIALIZED (
    SELECT e.* FROM candidate e
    WHERE (NOT EXISTS (SELECT FROM asked WHERE NOT is_order AND NOT wants_none)
           OR e.experiment_id IN (SELECT met.experiment_id FROM met))
      AND e.experiment_id NOT IN (
          SELECT v.experiment_id FROM value v
          JOIN asked a ON a.number = v.asked AND a.wants_none WHERE v.text IS NOT NULL
      )
),
standing AS (
    SELECT e.experiment_id, a.number, dense_rank() OVER (
               PARTITION BY a.number
               ORDER BY CASE WHEN a.operator = 'asc' THEN v.number ELSE - v.number END,
                   CASE WHEN a.operator = 'asc' THEN v.text END COLLATE "C",
                   CASE WHEN a.operator = 'desc' THEN v.text END COLLATE "C" DESC
           ) AS rank
    FROM asked a
    CROSS JOIN matched e
    LEFT JOIN value v ON v.asked = a.number AND v.experiment_id = e.experiment_id
    WHERE a.is_order
),
standings AS (
    SELECT standing.experiment_id, array_agg(standing.rank ORDER BY standing.number) AS ranks
    FROM standing GROUP BY standing.experiment_id
),
sorted AS MATERIALIZED (
    SELECT e.*, row_number() OVER (
               ORDER BY standings.ranks, e.created_at DESC, e.number DESC
           ) AS place
    FROM matched e LEFT JOIN standings ON standings.experiment_id = e.experiment_id
)
SELECT
    sorted.place,
    sorted.experiment_id,
    sorted.account,
    sorted.number,
    sorted.name,
    sorted.description,
    sorted.tags,
    sorted.created_at,
    sorted.created_by,
    sorted.deleted_at,
    sorted.modified_at,
    sorted.modified_by,
    (SELECT count(*) FROM runs r
     WHERE r.experiment_id = sorted.experiment_id AND r.deleted_at IS NULL) AS run_count
FROM sorted
WHERE sorted.place > coalesce(
    (SELECT before.place FROM sorted before WHERE before.experiment_id = $9::uuid), $10::bigint
)
ORDER BY sorted.place
LIMIT $11;
