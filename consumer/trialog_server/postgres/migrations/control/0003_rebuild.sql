-- What a rebuild needs beside the tables: forgetting a generation.

-- Drop a generation that nobody reads: its tables, its leases, and what was applied to it.
CREATE FUNCTION trialog.drop_generation(dropped int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    dropped_schema text;
BEGIN
    SELECT schema_name INTO STRICT dropped_schema
    FROM trialog.generations WHERE generation = dropped AND status <> 'live' FOR UPDATE;

    EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', dropped_schema);
    DELETE FROM trialog.leases WHERE generation = dropped;
    DELETE FROM trialog.migrations WHERE scope = dropped_schema;
    DELETE FROM trialog.generations WHERE generation = dropped;
END
$$;

-- A verification fills one as well, to be compared with the live one and forgotten.
ALTER TABLE trialog.generations
    ADD COLUMN purpose text NOT NULL DEFAULT 'rebuild' CHECK (purpose IN ('rebuild', 'verify'));

-- All rows of a table as texts, in the order of their bytes: the same rows give the same texts
-- wherever and however often they were written.
CREATE FUNCTION trialog.canonical_rows(schema_name text, table_name text) RETURNS SETOF text
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET extra_float_digits = 1 SET bytea_output = 'hex'
AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT t::text COLLATE "C" FROM %I.%I AS t ORDER BY 1', schema_name, table_name
    );
END
$$;
