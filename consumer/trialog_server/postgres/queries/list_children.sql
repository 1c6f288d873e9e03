-- One page of the live runs that were opened inside a live run, oldest first; served by runs_parent.
-- $1 account, $2 run id, after which child: $3 its time, $4 its log offset, $5 its seq; $6 rows at most
-- No row at all: there is no such run. A row without run_id: it has no children.
SELECT
    child.run_id, child.name AS run_name, child.created_at, child.log_offset, child.seq, e.name AS experiment_name,
    coalesce(s.status, 'InProgress') AS status,
    coalesce(s.last_event_at, child.created_at) AS last_event_at
FROM runs r
LEFT JOIN LATERAL (
    SELECT found.*
    FROM runs found
    WHERE found.parent_run_id = r.run_id AND found.account = r.account
      AND found.deleted_at IS NULL
      AND ($4::bigint IS NULL
           OR (found.created_at, found.log_offset, found.seq) > ($3::timestamptz, $4, $5::bigint))
    ORDER BY found.created_at, found.log_offset, found.seq
    LIMIT $6
) AS child ON true
LEFT JOIN experiments e ON e.experiment_id = child.experiment_id
LEFT JOIN run_states s ON s.run_id = child.run_id
WHERE r.account = $1 AND r.run_id = $2 AND r.deleted_at IS NULL
ORDER BY child.created_at, child.log_offset, child.seq;
