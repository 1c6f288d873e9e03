-- Every version of every artifact of a live run, newest version first within a name; served by artifacts_pkey.
-- $1 account, $2 run id, $3 artifact name or null for all, $4 version or null for all
-- No row at all: there is no such run. A row without name: nothing was found.
SELECT
    a.name, a.version, a.kind, encode(a.sha256, 'hex') AS sha256, a.size, a.media_type,
    a.is_output, a.uri, a.model, a.at
FROM live.runs r
LEFT JOIN live.artifacts a
    ON a.run_id = r.run_id AND ($3::text IS NULL OR a.name = $3)
    AND ($4::int IS NULL OR a.version = $4)
WHERE r.account = $1 AND r.run_id = $2 AND r.deleted_at IS NULL
ORDER BY a.name, a.version DESC;
