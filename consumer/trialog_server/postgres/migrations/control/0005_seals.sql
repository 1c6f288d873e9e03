-- How many records of each partition the newest checkpoint has signed. What is signed lies in its
-- file, elsewhere; this only lets people see which events that covers.
CREATE TABLE trialog.seals (
    topic     text COLLATE "C" NOT NULL,
    partition int NOT NULL,
    records   bigint NOT NULL,
    chain     bytea NOT NULL,
    made_at   timestamptz NOT NULL,
    PRIMARY KEY (topic, partition)
);
