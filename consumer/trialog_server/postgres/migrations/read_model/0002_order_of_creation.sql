-- Equal sort keys come in the order of creation: by the place of the creating event in the log.
-- Until now random ids decided.

-- Which of its writer's events created the run: one record may create many.
ALTER TABLE runs ADD COLUMN seq bigint NOT NULL DEFAULT 0;
-- Rows from before. The index has a row per run of a record, in the order of their events, and is
-- never updated, so that ctid keeps it; events about no run are taken to stand before them, as
-- creating an experiment does. A record that is about one run twice (no SDK writes one) may get
-- another number than a replay gives; `trialog verify` shows that, `trialog rebuild` mends it.
UPDATE runs SET seq = numbered.seq
FROM (
    SELECT run_id, log_offset,
           first_seq + events - count(*) OVER (PARTITION BY log_offset)
           + row_number() OVER (PARTITION BY log_offset ORDER BY ctid) - 1 AS seq
    FROM record_index
    WHERE topic LIKE '%catalog%' AND run_id <> '00000000-0000-0000-0000-000000000000'
) AS numbered
WHERE runs.run_id = numbered.run_id AND runs.log_offset = numbered.log_offset;

DROP INDEX runs_created;
DROP INDEX runs_named;
CREATE INDEX runs_created ON runs (experiment_id, created_at, log_offset, seq)
    WHERE deleted_at IS NULL;
CREATE INDEX runs_named ON runs (experiment_id, name, log_offset, seq) WHERE deleted_at IS NULL;

-- An experiment's number counts the creations.
DROP INDEX experiments_created;
CREATE INDEX experiments_created ON experiments (account, created_at, number)
    WHERE deleted_at IS NULL;
