-- When the newest record of some partitions was taken, 0 where they are empty; primary key of log_records.
SELECT coalesce(max(newest.at_us), 0)
FROM unnest($1::text[], $2::int[]) AS asked (topic, partition)
CROSS JOIN LATERAL (
    SELECT stored.at_us FROM trialog.log_records AS stored
    WHERE stored.topic = asked.topic AND stored.partition = asked.partition
    ORDER BY stored.log_offset DESC LIMIT 1
) AS newest
