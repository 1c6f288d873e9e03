-- The read model. Applied to every generation, with the generation's schema as search_path.
-- Rows that came from an event keep its log offset, deleted ones the deletion's as well. Names compare byte by byte (COLLATE "C"): the
-- order is the same on every machine, and replays give the same digests.

CREATE TABLE experiments (
    experiment_id  uuid PRIMARY KEY,
    account        text COLLATE "C" NOT NULL,
    number         bigint NOT NULL,
    name           text COLLATE "C" NOT NULL,
    description    text,
    tags           jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL,
    created_by     jsonb NOT NULL DEFAULT '{}',
    modified_at    timestamptz,
    modified_by    jsonb,
    deleted_at     timestamptz,
    log_offset     bigint NOT NULL,
    deleted_offset bigint,
    UNIQUE (account, number)
);
CREATE UNIQUE INDEX experiments_live_name ON experiments (account, name) WHERE deleted_at IS NULL;
-- All columns ascending: a page in either direction then starts inside the index, ties included.
CREATE INDEX experiments_created ON experiments (account, created_at, experiment_id)
    WHERE deleted_at IS NULL;

CREATE TABLE runs (
    run_id         uuid PRIMARY KEY,
    account        text COLLATE "C" NOT NULL,
    experiment_id  uuid NOT NULL,
    name           text COLLATE "C" NOT NULL,
    name_is_unique bool NOT NULL,
    tags           jsonb NOT NULL DEFAULT '{}',
    parent_run_id  uuid,
    created_at     timestamptz NOT NULL,
    created_by     jsonb NOT NULL DEFAULT '{}',
    deleted_at     timestamptz,
    log_offset     bigint NOT NULL,
    deleted_offset bigint
);
CREATE UNIQUE INDEX runs_live_name ON runs (experiment_id, name)
    WHERE deleted_at IS NULL AND name_is_unique;
CREATE INDEX runs_created ON runs (experiment_id, created_at, run_id) WHERE deleted_at IS NULL;
CREATE INDEX runs_named ON runs (experiment_id, name, run_id) WHERE deleted_at IS NULL;
CREATE INDEX runs_parent ON runs (parent_run_id) WHERE parent_run_id IS NOT NULL;

-- What the events topic says of a run. The catalog topic's part is in runs: two partitions never
-- write one row. Tags here override the tags in runs.
CREATE TABLE run_states (
    run_id          uuid PRIMARY KEY,
    account         text COLLATE "C" NOT NULL,
    status          text CHECK (status IN ('InProgress', 'Completed', 'Failed')),
    started_at      timestamptz,
    ended_at        timestamptz,
    failure_message text,
    failed_for_good bool NOT NULL DEFAULT false,
    last_event_at   timestamptz,
    limits          jsonb,
    rules_version   int,
    tags            jsonb NOT NULL DEFAULT '{}',
    points          bigint NOT NULL DEFAULT 0,
    rejected        bigint NOT NULL DEFAULT 0,
    partition       int NOT NULL,
    log_offset      bigint NOT NULL
) WITH (fillfactor = 70);

-- The last event applied of each writer; the catalog's writers stand under the run of all zeros.
CREATE TABLE writers (
    run_id     uuid NOT NULL,
    writer_id  uuid NOT NULL,
    last_seq   bigint NOT NULL,
    chain      bytea,
    log_offset bigint NOT NULL,
    PRIMARY KEY (run_id, writer_id)
) WITH (fillfactor = 70);

CREATE TABLE gaps (
    run_id     uuid NOT NULL,
    writer_id  uuid NOT NULL,
    first_seq  bigint NOT NULL,
    last_seq   bigint NOT NULL,
    topic      text COLLATE "C" NOT NULL,
    partition  int NOT NULL,
    log_offset bigint NOT NULL,
    PRIMARY KEY (run_id, writer_id, first_seq)
);

CREATE TABLE parameters (
    run_id       uuid NOT NULL,
    name         text COLLATE "C" NOT NULL,
    value        text COLLATE "C" NOT NULL,
    value_number double precision,
    value_text   text COLLATE "C",
    at           timestamptz NOT NULL,
    log_offset   bigint NOT NULL,
    PRIMARY KEY (run_id, name)
);
CREATE INDEX parameters_number ON parameters (name, value_number);
CREATE INDEX parameters_text ON parameters (name, value_text);

-- "last" is the last element in the order of the series: by step, points without a step after all
-- stepped ones (last_step is then -1), then by arrival (last_index).
CREATE TABLE metric_summaries (
    run_id     uuid NOT NULL,
    name       text COLLATE "C" NOT NULL,
    points     bigint NOT NULL,
    last       double precision NOT NULL,
    last_step  bigint NOT NULL,
    last_index bigint NOT NULL,
    min        double precision,
    max        double precision,
    total      double precision NOT NULL,
    counted    bigint NOT NULL,
    first_at   timestamptz NOT NULL,
    last_at    timestamptz NOT NULL,
    log_offset bigint NOT NULL,
    PRIMARY KEY (run_id, name)
) WITH (fillfactor = 70);
CREATE INDEX metric_summaries_last ON metric_summaries (name, last);

-- data = steps i64[n] ‖ times i64[n] ‖ values f64[n], little-endian, in order of arrival.
-- offsets and counts say which log offset gave how many of the points.
CREATE TABLE metric_chunks (
    run_id      uuid NOT NULL,
    name        text COLLATE "C" NOT NULL,
    first_index bigint NOT NULL,
    points      int NOT NULL,
    step_min    bigint NOT NULL,
    step_max    bigint NOT NULL,
    offsets     bigint[] NOT NULL,
    counts      int[] NOT NULL,
    data        bytea NOT NULL,
    PRIMARY KEY (run_id, name, first_index)
);
ALTER TABLE metric_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE artifacts (
    run_id     uuid NOT NULL,
    name       text COLLATE "C" NOT NULL,
    version    int NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('artifact', 'file', 'model')),
    sha256     bytea,
    size       bigint,
    media_type text,
    is_output  bool NOT NULL,
    uri        text,
    model      jsonb,
    at         timestamptz NOT NULL,
    log_offset bigint NOT NULL,
    PRIMARY KEY (run_id, name, version)
);

CREATE TABLE rejections (
    run_id     uuid NOT NULL,
    writer_id  uuid NOT NULL,
    seq        bigint NOT NULL,
    item       int NOT NULL,
    code       text NOT NULL,
    message    text NOT NULL,
    name       text COLLATE "C",
    value      text,
    facts      jsonb NOT NULL DEFAULT '{}',
    at         timestamptz NOT NULL,
    topic      text COLLATE "C" NOT NULL,
    partition  int NOT NULL,
    log_offset bigint NOT NULL,
    PRIMARY KEY (run_id, writer_id, seq, item)
);
CREATE INDEX rejections_run ON rejections (run_id, topic, log_offset, writer_id, seq, item);

-- Records that no event could be read from. Their bytes stay in the log.
CREATE TABLE dead (
    topic      text COLLATE "C" NOT NULL,
    partition  int NOT NULL,
    log_offset bigint NOT NULL,
    reason     text NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (topic, partition, log_offset)
);

-- Records of runs that are quarantined after a fault of our own; kept by reference.
CREATE TABLE parked (
    run_id     uuid NOT NULL,
    topic      text COLLATE "C" NOT NULL,
    partition  int NOT NULL,
    log_offset bigint NOT NULL,
    reason     text NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (topic, partition, log_offset)
);
CREATE INDEX parked_run ON parked (run_id);

-- Where in the log the events of a run are. A record of the catalog may be about several runs.
CREATE TABLE record_index (
    topic      text COLLATE "C" NOT NULL,
    partition  int NOT NULL,
    log_offset bigint NOT NULL,
    run_id     uuid NOT NULL,
    writer_id  uuid NOT NULL,
    first_seq  bigint NOT NULL,
    events     int NOT NULL,
    types      text[] NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (topic, partition, log_offset, run_id)
);
CREATE INDEX record_index_run ON record_index (run_id, topic, log_offset);
