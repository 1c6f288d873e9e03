-- Snapshots: generations that hold a part of the log up to a moment, to answer questions about then.

ALTER TABLE trialog.generations DROP CONSTRAINT generations_purpose_check;
ALTER TABLE trialog.generations
    ADD CONSTRAINT generations_purpose_check CHECK (purpose IN ('rebuild', 'verify', 'snapshot'));

-- Their numbers count down from -1, so that several processes may make some while a rebuild takes
-- the next number above all.
CREATE SEQUENCE trialog.snapshot_numbers AS int INCREMENT -1 CYCLE;

CREATE TABLE trialog.snapshots (
    generation int PRIMARY KEY REFERENCES trialog.generations,
    key        text COLLATE "C" NOT NULL UNIQUE, -- a digest of scope and positions
    done       bigint NOT NULL DEFAULT 0,
    total      bigint NOT NULL DEFAULT 0,
    is_whole   bool NOT NULL DEFAULT false,
    -- Until when its maker has the word; one that is not whole and over is a dead maker's.
    until      timestamptz NOT NULL,
    used_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Drop a generation that nobody reads: its tables, its leases, and what was applied to it.
CREATE OR REPLACE FUNCTION trialog.drop_generation(dropped int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    dropped_schema text;
BEGIN
    SELECT schema_name INTO STRICT dropped_schema
    FROM trialog.generations WHERE generation = dropped AND status <> 'live' FOR UPDATE;

    EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', dropped_schema);
    DELETE FROM trialog.leases WHERE generation = dropped;
    DELETE FROM trialog.migrations WHERE scope = dropped_schema;
    DELETE FROM trialog.snapshots WHERE generation = dropped;
    DELETE FROM trialog.generations WHERE generation = dropped;
END
$$;
