-- Views in schema live show the tables of the generation that answers questions.

CREATE SCHEMA live;

-- Point every view of schema live at one generation, in the caller's transaction.
--
-- CREATE OR REPLACE keeps the views' identities, so a reader that waits for the switch goes on
-- with the new tables instead of failing. It allows new columns at the end of a table only; later
-- read-model migrations keep to that.
CREATE FUNCTION trialog.show_generation(shown int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    shown_schema text;
    shown_table  text;
BEGIN
    SELECT schema_name INTO STRICT shown_schema
    FROM trialog.generations WHERE generation = shown;

    FOR shown_table IN
        SELECT tablename FROM pg_tables WHERE schemaname = shown_schema ORDER BY tablename
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE VIEW live.%I AS SELECT * FROM %I.%I',
            shown_table, shown_schema, shown_table
        );
    END LOOP;
END
$$;

-- Make the schema that a generation's tables live in, unless it exists.
CREATE FUNCTION trialog.make_schema(schema_name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', schema_name);
END
$$;
