-- The name of the experiment that a run is or was in; served by runs_pkey.
-- $1 account, $2 run id
SELECT e.name FROM runs AS r JOIN experiments AS e USING (experiment_id)
WHERE r.account = $1 AND r.run_id = $2
