-- One page of an experiment's live runs that meet every condition, in the asked order; runs_created serves the candidates, parameters_pkey and metric_summaries_pkey what is shown.
-- $1 account, $2 experiment name
-- conditions, one array element each: $3 source, $4 name, $5 field, $6 operator, $7 low, $8 high, $9 text
-- order: $10 source, $11 name, $12 field, $13 descending
-- after which run: $14 rank, $15 number, $16 text, $17 log offset, $18 seq
-- $19 one more than the runs at most, $20 metric names after which a page ends
-- No row at all: there is no such experiment. A row without run_id: the page is empty.
-- Every candidate is looked at, so that as little as possible is done for each: only what order and
-- conditions ask for is joined, in whole sets, and only the page gets its columns.
WITH experiment AS (
    SELECT e.experiment_id, e.name AS experiment_name, e.number AS experiment_number
    FROM experiments e
    WHERE e.account = $1 AND e.name = $2 AND e.deleted_at IS NULL
),
candidate AS MATERIALIZED (
    SELECT r.run_id, r.name, r.created_at, r.log_offset, r.seq,
           CASE WHEN 'tags' = ANY ($3::text[] || $10::text) THEN r.tags END AS tags
    FROM runs r
    WHERE r.experiment_id = (SELECT experiment_id FROM experiment) AND r.deleted_at IS NULL
),
state AS NOT MATERIALIZED (
    SELECT s.run_id, s.status, s.started_at, s.ended_at, s.tags
    FROM run_states s
    WHERE ($5::text[] || $12::text) && '{status,start_time,end_time,tag}'::text[]
),
condition AS MATERIALIZED (
    SELECT * FROM unnest(
        $3::text[], $4::text[], $5::text[], $6::text[],
        $7::double precision[], $8::double precision[], $9::text[]
    ) AS c (source, name, field, operator, low, high, wanted)
),
-- What each condition looks at: a run has at most one value for it. A parameter of another kind
-- than it is compared with is_other: it differs. What is null without that is missing.
value AS (
    SELECT p.run_id, c.operator, c.low, c.high, c.wanted,
           CASE WHEN c.field = 'number' THEN p.value_number END AS number,
           CASE c.field WHEN 'text' THEN p.value_text WHEN 'json' THEN p.value END AS text,
           true AS is_other
    FROM condition c
    CROSS JOIN candidate r
    JOIN parameters p ON p.run_id = r.run_id AND p.name = c.name
    WHERE c.source = 'params' AND 'params' = ANY ($3)
    UNION ALL
    SELECT m.run_id, c.operator, c.low, c.high, c.wanted,
           CASE c.field
               WHEN 'last' THEN m.last WHEN 'min' THEN m.min WHEN 'max' THEN m.max
               WHEN 'mean' THEN m.total / nullif(m.counted, 0)
               WHEN 'count' THEN m.points::double precision
           END,
           NULL,
           false
    FROM condition c
    CROSS JOIN candidate r
    JOIN metric_summaries m ON m.run_id = r.run_id AND m.name = c.name
    WHERE c.source = 'metrics' AND 'metrics' = ANY ($3)
    UNION ALL
    SELECT r.run_id, c.operator, c.low, c.high, c.wanted,
           round(date_part('epoch', CASE c.field
               WHEN 'creation_time' THEN r.created_at
               WHEN 'start_time' THEN coalesce(s.started_at, r.created_at)
               WHEN 'end_time' THEN s.ended_at
           END) * 1e6),
           CASE c.field
               WHEN 'status' THEN coalesce(s.status, 'InProgress')
               WHEN 'run_name' THEN r.name
               -- A tag set later stands before one of the creation; null is one that was removed.
               WHEN 'tag' THEN CASE WHEN s.tags ? c.name THEN s.tags ->> c.name
                                    ELSE r.tags ->> c.name END
           END,
           false
    FROM condition c
    CROSS JOIN candidate r
    LEFT JOIN state s ON s.run_id = r.run_id
    WHERE c.source IN ('run', 'tags') AND $3 && '{run,tags}'::text[]
),
met AS (
    SELECT v.run_id
    FROM value v
    WHERE CASE v.operator
        WHEN 'within' THEN v.number BETWEEN v.low AND v.high
        WHEN 'outside' THEN coalesce(v.number NOT BETWEEN v.low AND v.high, v.is_other)
        WHEN '=' THEN v.text = v.wanted
        WHEN '!=' THEN coalesce(v.text <> v.wanted, v.is_other)
        WHEN '<' THEN v.text < v.wanted COLLATE "C"
        WHEN '<=' THEN v.text <= v.wanted COLLATE "C"
        WHEN '>' THEN v.text > v.wanted COLLATE "C"
        WHEN '>=' THEN v.text >= v.wanted COLLATE "C"
        WHEN 'like' THEN v.text LIKE v.wanted COLLATE "C" ESCAPE ''
    END
    GROUP BY v.run_id HAVING count(*) = cardinality($3)
),
matched AS MATERIALIZED (
    SELECT r.* FROM candidate r
    WHERE cardinality($3) = 0 OR r.run_id IN (SELECT met.run_id FROM met)
),
sort_value AS MATERIALIZED (
    SELECT r.run_id, r.log_offset, r.seq,
           CASE $10
               WHEN 'params' THEN p.value_number
               WHEN 'metrics' THEN CASE $12
                   WHEN 'last' THEN m.last WHEN 'min' THEN m.min WHEN 'max' THEN m.max
                   WHEN 'mean' THEN m.total / nullif(m.counted, 0)
                   WHEN 'count' THEN m.points::double precision
               END
               WHEN 'run' THEN date_part('epoch', CASE $12
                   WHEN 'creation_time' THEN r.created_at
                   WHEN 'start_time' THEN coalesce(s.started_at, r.created_at)
                   WHEN 'end_time' THEN s.ended_at
               END)
           END AS number,
           CASE $10
               WHEN 'params' THEN coalesce(p.value_text, left(p.value, 256))
               WHEN 'tags' THEN CASE WHEN s.tags ? $11::text THEN s.tags ->> $11
                                     ELSE r.tags ->> $11 END
               WHEN 'run' THEN CASE $12
                   WHEN 'status' THEN coalesce(s.status, 'InProgress')
                   WHEN 'run_name' THEN r.name
               END
           END AS text
    FROM matched r
    LEFT JOIN state s ON s.run_id = r.run_id
    LEFT JOIN (
        SELECT p.* FROM parameters p WHERE $10 = 'params' AND p.name = $11
    ) AS p ON p.run_id = r.run_id
    LEFT JOIN (
        SELECT m.* FROM metric_summaries m WHERE $10 = 'metrics' AND m.name = $11
    ) AS m ON m.run_id = r.run_id
),
-- Numbers stand before texts, NaN after both, missing values last, in either direction.
keyed AS (
    SELECT v.run_id, v.log_offset, v.seq,
           CASE WHEN v.number = 'NaN' THEN 2 WHEN v.number IS NOT NULL THEN 0
                WHEN v.text IS NOT NULL THEN 1 ELSE 3 END AS key_rank,
           CASE WHEN v.number IS NULL OR v.number = 'NaN' THEN 0 ELSE v.number END AS key_number,
           CASE WHEN v.number IS NULL THEN coalesce(v.text, '') ELSE '' END COLLATE "C" AS key_text
    FROM sort_value v
),
picked AS (
    SELECT k.* FROM keyed k
    WHERE CASE
        WHEN $14::int IS NULL THEN true
        WHEN k.key_rank <> $14 THEN k.key_rank > $14
        WHEN $13::bool THEN (k.key_number, k.key_text, k.log_offset, k.seq)
            < ($15::double precision, $16::text COLLATE "C", $17::bigint, $18::bigint)
        ELSE (k.key_number, k.key_text, k.log_offset, k.seq)
           > ($15, $16 COLLATE "C", $17, $18)
    END
    ORDER BY k.key_rank,
        CASE WHEN NOT $13 THEN k.key_number END,
        CASE WHEN $13 THEN k.key_number END DESC,
        CASE WHEN NOT $13 THEN k.key_text END,
        CASE WHEN $13 THEN k.key_text END DESC,
        CASE WHEN NOT $13 THEN k.log_offset END,
        CASE WHEN $13 THEN k.log_offset END DESC,
        CASE WHEN NOT $13 THEN k.seq END,
        CASE WHEN $13 THEN k.seq END DESC
    LIMIT $19
),
placed AS (
    SELECT k.*, count(*) OVER () AS found, row_number() OVER (
               ORDER BY k.key_rank,
                   CASE WHEN NOT $13 THEN k.key_number END,
                   CASE WHEN $13 THEN k.key_number END DESC,
                   CASE WHEN NOT $13 THEN k.key_text END,
                   CASE WHEN $13 THEN k.key_text END DESC,
                   CASE WHEN NOT $13 THEN k.log_offset END,
                   CASE WHEN $13 THEN k.log_offset END DESC,
                   CASE WHEN NOT $13 THEN k.seq END,
                   CASE WHEN $13 THEN k.seq END DESC
           ) AS place
    FROM picked k
),
sized AS (
    SELECT placed.*,
           sum(metric.names) OVER (ORDER BY placed.place) - metric.names AS names_before
    FROM placed
    CROSS JOIN LATERAL (
        SELECT count(*) AS names FROM metric_summaries m WHERE m.run_id = placed.run_id
    ) AS metric
),
page AS (
    SELECT r.*, r.name AS run_name, experiment.experiment_name,
           experiment.experiment_number, sized.found, sized.place,
           sized.key_rank, sized.key_number, sized.key_text
    FROM sized
    JOIN runs r ON r.run_id = sized.run_id
    CROSS JOIN experiment
    WHERE sized.place < $19 AND sized.names_before < $20::bigint
),
counted AS MATERIALIZED (
    SELECT (SELECT count(*) FROM matched) AS total FROM experiment
)
-- then parts/run_rows
