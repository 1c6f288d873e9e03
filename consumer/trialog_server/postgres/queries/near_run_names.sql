-- Names of an experiment's live runs, newest first, for the "did you mean" of an unknown name; served by runs_created.
-- $1 experiment id, $2 names at most
SELECT r.name FROM runs r
WHERE r.experiment_id = $1 AND r.deleted_at IS NULL
ORDER BY r.created_at DESC, r.log_offset DESC, r.seq DESC LIMIT $2;
