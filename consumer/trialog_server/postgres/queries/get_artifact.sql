-- One version of an artifact of a live run; served by artifacts_pkey.
-- $1 account, $2 run id, $3 artifact name, $4 version, or null for the newest
-- No row at all: there is no such run. A row without name: nothing was found.
SELECT
    a.name, a.version, a.kind, encode(a.sha256, 'hex') AS sha256, a.size, a.media_type,
    a.is_output, a.uri, a.model, a.at
FROM runs r
LEFT JOIN LATERAL (
    SELECT found.*
    FROM artifacts found
    WHERE found.run_id = r.run_id AND found.name = $3::text
      AND ($4::int IS NULL OR found.version = $4)
    ORDER BY found.version DESC
    LIMIT 1
) AS a ON true
WHERE r.account = $1 AND r.run_id = $2 AND r.deleted_at IS NULL;
