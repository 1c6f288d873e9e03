-- How far partitions are applied, and how many of their records the newest checkpoint covers; tables of few rows.
-- $1 topics, $2 partitions
SELECT
    asked.topic, asked.partition,
    coalesce((
        SELECT l.next_offset FROM trialog.leases l
        JOIN trialog.generations g ON g.generation = l.generation
        WHERE g.status = 'live' AND l.topic = asked.topic AND l.partition = asked.partition
    ), 0) AS applied,
    coalesce(seal.records, 0) AS sealed,
    seal.made_at AS sealed_at
FROM unnest($1::text[], $2::int[]) AS asked (topic, partition)
LEFT JOIN trialog.seals seal
    ON seal.topic = asked.topic AND seal.partition = asked.partition
