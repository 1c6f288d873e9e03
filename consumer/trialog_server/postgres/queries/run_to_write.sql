-- One live run with what the rules judge a write by; served by the primary keys.
-- $1 account, $2 run id, $3 whether parameters are asked for, $4 whether artifacts are
SELECT
    r.run_id,
    r.name AS run_name,
    s.status,
    s.failure_message,
    s.limits,
    s.tags AS tags_set,
    coalesce(s.points, 0) AS points,
    ARRAY(
        SELECT ROW (p.name, p.value) FROM live.parameters p WHERE $3::bool AND p.run_id = r.run_id
    ) AS parameters,
    ARRAY(
        SELECT DISTINCT ON (a.name) ROW (
            a.name, a.version, encode(a.sha256, 'hex'), a.uri, a.model
        )
        FROM live.artifacts a
        WHERE $4::bool AND a.run_id = r.run_id ORDER BY a.name, a.version DESC
    ) AS artifacts
FROM live.runs r
JOIN live.experiments e ON e.experiment_id = r.experiment_id
LEFT JOIN live.run_states s ON s.run_id = r.run_id
WHERE r.account = $1 AND r.run_id = $2::uuid AND r.deleted_at IS NULL AND e.deleted_at IS NULL;
