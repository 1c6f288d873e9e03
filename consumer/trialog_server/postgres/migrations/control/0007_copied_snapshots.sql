-- A snapshot may begin with what an older one holds, instead of the log's first record.

-- Copy what a generation holds of the catalog, with its position there, and all that it holds of some
-- runs, into one that is empty; in the caller's transaction. The positions of other topics stay at 0:
-- which of their records are left is the caller's to know.
CREATE FUNCTION trialog.copy_generation(source int, target int, catalog text, copied uuid[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    from_schema  text;
    to_schema    text;
    copied_table text;
    condition    text;
BEGIN
    SELECT schema_name INTO STRICT from_schema FROM trialog.generations WHERE generation = source;
    SELECT schema_name INTO STRICT to_schema FROM trialog.generations WHERE generation = target;

    FOR copied_table, condition IN VALUES
        ('experiments', 'true'),
        ('runs', 'true'),
        ('run_states', 'run_id = ANY ($2)'),
        -- The catalog's writers stand under the run of all zeros.
        ('writers', 'run_id = ANY ($2 || ''00000000-0000-0000-0000-000000000000''::uuid)'),
        ('gaps', 'topic = $1 OR run_id = ANY ($2)'),
        ('parameters', 'run_id = ANY ($2)'),
        ('metric_summaries', 'run_id = ANY ($2)'),
        ('metric_chunks', 'run_id = ANY ($2)'),
        ('artifacts', 'run_id = ANY ($2)'),
        ('rejections', 'topic = $1 OR run_id = ANY ($2)'),
        ('parked', 'topic = $1 OR run_id = ANY ($2)'),
        ('record_index', 'topic = $1 OR run_id = ANY ($2)'),
        ('dead', 'topic = $1 OR (topic, partition, log_offset) IN (
            SELECT topic, partition, log_offset FROM %1$I.record_index WHERE run_id = ANY ($2)
        )')
    LOOP
        EXECUTE format(
            'INSERT INTO %2$I.%3$I SELECT * FROM %1$I.%3$I WHERE ' || condition,
            from_schema, to_schema, copied_table
        ) USING catalog, copied;
    END LOOP;

    INSERT INTO trialog.leases (generation, topic, partition, next_offset, chain)
    SELECT target, topic, partition, next_offset, chain
    FROM trialog.leases WHERE generation = source AND topic = catalog;
END
$$;
