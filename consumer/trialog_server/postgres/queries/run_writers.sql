-- The writers of a run: how many of their events are applied, how many of these are sealed; served by record_index_run.
-- $1 run id, $2 topic of events, $3 rows at most. Seqs reach to 2^63 - 1, hence the numeric ranges.
WITH come AS (
    SELECT
        record.writer_id,
        range_agg(numrange(record.first_seq, record.first_seq::numeric + record.events)) AS seqs,
        range_agg(numrange(record.first_seq, record.first_seq::numeric + record.events))
            FILTER (WHERE record.log_offset < seal.records) AS sealed,
        max(record.at) AS last_at
    FROM live.record_index record
    LEFT JOIN trialog.seals seal
        ON seal.topic = record.topic AND seal.partition = record.partition
    WHERE record.run_id = $1 AND record.topic = $2
    GROUP BY record.writer_id
)
SELECT
    come.writer_id,
    (SELECT coalesce(sum(upper(span) - lower(span)), 0)::bigint
     FROM unnest(come.seqs) AS span) AS applied,
    (SELECT coalesce(sum(upper(span) - lower(span)), 0)::bigint
     FROM unnest(come.sealed) AS span) AS sealed,
    come.last_at
FROM come
ORDER BY come.writer_id
LIMIT $3
