-- Tables that exist once per database: generations, leases, workers, settings and the embedded log.
-- trialog.migrations itself is made by migrate.py, which must read it before it can apply this file.

CREATE TABLE trialog.settings (
    name  text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);

-- A generation is one whole set of read-model tables, in a schema of its own, so that a rebuild
-- can run beside the tables that are being read.
CREATE TABLE trialog.generations (
    generation  int PRIMARY KEY,
    schema_name text COLLATE "C" NOT NULL UNIQUE,
    status      text NOT NULL CHECK (status IN ('live', 'building', 'old')),
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Exactly one generation answers questions.
CREATE UNIQUE INDEX generations_live ON trialog.generations (status) WHERE status = 'live';

INSERT INTO trialog.generations (generation, schema_name, status) VALUES (1, 'gen_1', 'live');

-- A worker's epoch-fenced claim on a partition; next_offset moves in the rows' transaction.
CREATE TABLE trialog.leases (
    generation  int NOT NULL REFERENCES trialog.generations,
    topic       text COLLATE "C" NOT NULL,
    partition   int NOT NULL,
    epoch       bigint NOT NULL DEFAULT 0,
    owner       text,
    until       timestamptz,
    next_offset bigint NOT NULL DEFAULT 0,
    chain       bytea,
    PRIMARY KEY (generation, topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE trialog.workers (
    owner text COLLATE "C" PRIMARY KEY,
    until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The embedded log. Written by one server process only, which gives the offsets: 0, 1, 2 … per
-- partition, without holes. Never updated, never deleted.
CREATE TABLE trialog.log_records (
    topic      text COLLATE "C" NOT NULL,
    partition  int NOT NULL,
    log_offset bigint NOT NULL,
    at_us      bigint NOT NULL,
    key        text COLLATE "C" NOT NULL,
    value      bytea NOT NULL,
    PRIMARY KEY (topic, partition, log_offset)
);

-- Records are compressed by the SDK: trying it again would only cost time.
ALTER TABLE trialog.log_records ALTER COLUMN value SET STORAGE EXTERNAL;
