-- One page of the versions of all artifacts of a live run, the newest first within a name; served by artifacts_pkey.
-- $1 account, $2 run id, after which version: $3 name, $4 version; $5 rows at most; $6 outputs, inputs or (null) both
-- No row at all: there is no such run. A row without name: nothing was found.
SELECT
    a.name, a.version, a.kind, encode(a.sha256, 'hex') AS sha256, a.size, a.media_type,
    a.is_output, a.uri, a.model, a.at
FROM runs r
LEFT JOIN LATERAL (
    SELECT found.*
    FROM artifacts found
    WHERE found.run_id = r.run_id AND found.name >= coalesce($3::text, '')
      AND ($3 IS NULL OR found.name > $3 OR found.version < $4::int)
      AND ($6::bool IS NULL OR found.is_output = $6)
    ORDER BY found.name, found.version DESC
    LIMIT $5
) AS a ON true
WHERE r.account = $1 AND r.run_id = $2 AND r.deleted_at IS NULL
ORDER BY a.name, a.version DESC;
