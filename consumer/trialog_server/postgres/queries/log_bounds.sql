-- First and last offset of some partitions, null where one is empty; primary key of log_records.
SELECT
    asked.topic,
    asked.partition,
    (
        SELECT stored.log_offset FROM trialog.log_records AS stored
        WHERE stored.topic = asked.topic AND stored.partition = asked.partition
        ORDER BY stored.log_offset LIMIT 1
    ) AS first_offset,
    (
        SELECT stored.log_offset FROM trialog.log_records AS stored
        WHERE stored.topic = asked.topic AND stored.partition = asked.partition
        ORDER BY stored.log_offset DESC LIMIT 1
    ) AS last_offset
FROM unnest($1::text[], $2::int[]) AS asked (topic, partition)
