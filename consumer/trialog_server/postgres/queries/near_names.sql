-- Names of live experiments, newest first, for the "did you mean" of an unknown name; served by experiments_created.
-- $1 account, $2 names at most
SELECT e.name FROM experiments e
WHERE e.account = $1 AND e.deleted_at IS NULL
ORDER BY e.created_at DESC, e.number DESC LIMIT $2;
