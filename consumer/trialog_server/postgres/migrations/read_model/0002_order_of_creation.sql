-- Equal sort keys come in the order of creation: by the place of the creating event in the log.
-- Until now random ids decided.

-- Which of its writer's events created the run: one record may create many.
ALTER TABLE runs ADD COLUMN seq bigint NOT NULL DEFAULT 0;
-- Rows from before: they were inserted in the order of the log, and a record's first seq is known.
UPDATE runs SET seq = numbered.seq
FROM (
    SELECT r.run_id,
           coalesce(i.first_seq, 1)
           + row_number() OVER (PARTITION BY r.log_offset ORDER BY r.ctid) - 1 AS seq
    FROM runs r
    LEFT JOIN record_index i
        ON i.run_id = r.run_id AND i.log_offset = r.log_offset AND i.topic LIKE '%catalog%'
) AS numbered
WHERE runs.run_id = numbered.run_id;

DROP INDEX runs_created;
DROP INDEX runs_named;
CREATE INDEX runs_created ON runs (experiment_id, created_at, log_offset, seq)
    WHERE deleted_at IS NULL;
CREATE INDEX runs_named ON runs (experiment_id, name, log_offset, seq) WHERE deleted_at IS NULL;

-- An experiment's number counts the creations.
DROP INDEX experiments_created;
CREATE INDEX experiments_created ON experiments (account, created_at, number)
    WHERE deleted_at IS NULL;
