-- The slice of the catalog that a batch names, as arrays of rows; served by experiments_live_name, runs_named and the primary keys.
-- $1 accounts, $2 writer ids, $3 accounts and $4 names of experiments, $5 experiment ids,
-- $6 ids of experiments that shall be deleted, $7 run ids,
-- $8 accounts, $9 experiment names and $10 names of runs that shall be created
WITH named_runs AS (
    SELECT run.run_id FROM unnest($7::uuid[]) AS wanted (run_id)
    JOIN runs AS run ON run.run_id = wanted.run_id
    UNION
    SELECT run.run_id
    FROM unnest($8::text[], $9::text[], $10::text[]) AS wanted (account, experiment, name)
    JOIN experiments AS home
        ON home.account = wanted.account AND home.name = wanted.experiment
        AND home.deleted_at IS NULL
    CROSS JOIN LATERAL (
        -- Very many runs may share a name; one more than the batch can delete is left of them.
        SELECT run.run_id FROM runs AS run
        WHERE run.experiment_id = home.experiment_id AND run.name = wanted.name
          AND run.deleted_at IS NULL
        LIMIT cardinality($7::uuid[]) + 1
    ) AS run
),
named_experiments AS (
    SELECT wanted.experiment_id FROM unnest($5::uuid[]) AS wanted (experiment_id)
    UNION
    SELECT experiment.experiment_id
    FROM unnest($3::text[], $4::text[]) AS wanted (account, name)
    JOIN experiments AS experiment
        ON experiment.account = wanted.account AND experiment.name = wanted.name
        AND experiment.deleted_at IS NULL
    UNION
    SELECT run.experiment_id FROM named_runs JOIN runs AS run USING (run_id)
)
SELECT
    ARRAY(
        SELECT ROW (
            wanted.account,
            (SELECT count(*) FROM experiments AS experiment
             WHERE experiment.account = wanted.account AND experiment.deleted_at IS NULL),
            (SELECT coalesce(max(experiment.number), 0) FROM experiments AS experiment
             WHERE experiment.account = wanted.account)
        )
        FROM unnest($1::text[]) AS wanted (account)
    ) AS accounts,
    ARRAY(
        SELECT ROW (
            experiment.account, experiment.experiment_id, experiment.name,
            -- Only a deletion asks how many runs there are; counting is work when there are many.
            CASE WHEN experiment.experiment_id = ANY ($6::uuid[]) THEN (
                SELECT count(*) FROM runs AS run
                WHERE run.experiment_id = experiment.experiment_id AND run.deleted_at IS NULL
            ) ELSE 0 END,
            experiment.deleted_at IS NOT NULL
        )
        FROM named_experiments JOIN experiments AS experiment USING (experiment_id)
    ) AS experiments,
    ARRAY(
        SELECT ROW (
            run.account, run.run_id, run.experiment_id, run.name, run.deleted_at IS NOT NULL
        )
        FROM named_runs JOIN runs AS run USING (run_id)
    ) AS runs,
    ARRAY(
        SELECT ROW (writer.writer_id, writer.last_seq, writer.chain)
        FROM unnest($2::uuid[]) AS wanted (writer_id)
        JOIN writers AS writer ON writer.writer_id = wanted.writer_id
        WHERE writer.run_id = '00000000-0000-0000-0000-000000000000'
    ) AS writers
