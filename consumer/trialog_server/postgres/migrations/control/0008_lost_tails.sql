-- What tells that a log has lost records which are applied, and which those were.

-- The chain before the last applied record: with it that record, read once more, must give `chain`.
-- Without it, as for what was applied before this migration, nothing is compared.
ALTER TABLE trialog.leases ADD COLUMN chain_before bytea;

-- Where records that one generation was made of are others in a second one: of each partition the
-- first such offset. Only offsets before given ends are compared.
CREATE FUNCTION trialog.other_records(
    one_schema text, other_schema text, topics text[], partitions int[], ends bigint[]
) RETURNS TABLE (topic text, partition int, first_offset bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT found.topic, found.partition, min(found.log_offset)
         FROM (
             SELECT i.topic, i.partition, i.log_offset, i.run_id, i.writer_id, i.first_seq, i.events
             FROM %I.record_index AS i
             JOIN unnest($1, $2, $3) AS until (topic, partition, log_offset)
                 ON i.topic = until.topic AND i.partition = until.partition
                 AND i.log_offset < until.log_offset
             EXCEPT
             SELECT i.topic, i.partition, i.log_offset, i.run_id, i.writer_id, i.first_seq, i.events
             FROM %I.record_index AS i
         ) AS found
         GROUP BY 1, 2 ORDER BY 1, 2',
        one_schema, other_schema
    ) USING topics, partitions, ends;
END
$$;

-- Events that one generation has and a second one lacks, by run and writer; at any offset of that
-- one, since a log that is fed again has them elsewhere. Of records that the second one lists as
-- unreadable or set aside, none: the log has those. Such a record is known by its time as well, since
-- others may stand at its place.
CREATE FUNCTION trialog.lost_events(
    one_schema text, other_schema text, topics text[], partitions int[], ends bigint[]
) RETURNS TABLE (
    topic text, run_id uuid, run_name text, experiment_name text, writer_id uuid,
    first_seq bigint, last_seq bigint
)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'WITH held AS (
             SELECT i.topic, i.run_id, i.writer_id,
                    range_agg(int8range(i.first_seq, i.first_seq + i.events)) AS seqs
             FROM %1$I.record_index AS i
             JOIN unnest($1, $2, $3) AS until (topic, partition, log_offset)
                 ON i.topic = until.topic AND i.partition = until.partition
                 AND i.log_offset < until.log_offset
             WHERE NOT EXISTS (
                 SELECT FROM %2$I.dead AS d WHERE d.topic = i.topic
                 AND d.partition = i.partition AND d.log_offset = i.log_offset AND d.at = i.at
             ) AND NOT EXISTS (
                 SELECT FROM %2$I.parked AS p WHERE p.topic = i.topic
                 AND p.partition = i.partition AND p.log_offset = i.log_offset
                 AND p.run_id = i.run_id AND p.at = i.at
             )
             GROUP BY 1, 2, 3
         ), there AS (
             SELECT i.topic, i.run_id, i.writer_id,
                    range_agg(int8range(i.first_seq, i.first_seq + i.events)) AS seqs
             FROM %2$I.record_index AS i GROUP BY 1, 2, 3
         )
         SELECT held.topic, held.run_id, run.name::text, experiment.name::text, held.writer_id,
                lower(part), upper(part) - 1
         FROM held
         LEFT JOIN there USING (topic, run_id, writer_id)
         LEFT JOIN %1$I.runs AS run USING (run_id)
         LEFT JOIN %1$I.experiments AS experiment USING (experiment_id)
         CROSS JOIN LATERAL unnest(held.seqs - coalesce(there.seqs, ''{}'')) AS part
         ORDER BY 1, 4, 3, 2, 5, 6',
        one_schema, other_schema
    ) USING topics, partitions, ends;
END
$$;
