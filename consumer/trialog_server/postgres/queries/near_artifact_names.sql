-- Names of a run's artifacts, for the "did you mean" of an unknown name; served by artifacts_pkey.
-- $1 run id, $2 names at most
SELECT DISTINCT a.name FROM artifacts a WHERE a.run_id = $1 ORDER BY a.name LIMIT $2;
