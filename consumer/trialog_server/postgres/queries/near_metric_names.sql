-- Names of a run's metrics that stand beside an unknown name, for its "did you mean"; served by metric_summaries_pkey.
-- $1 run id, $2 unknown name, $3 names at most on each side
-- Names that begin alike stand together, so that few of very many have to be looked at.
(
    SELECT m.name FROM metric_summaries m
    WHERE m.run_id = $1 AND m.name >= $2::text
    ORDER BY m.name LIMIT $3
)
UNION ALL
(
    SELECT m.name FROM metric_summaries m
    WHERE m.run_id = $1 AND m.name < $2::text
    ORDER BY m.name DESC LIMIT $3
);
