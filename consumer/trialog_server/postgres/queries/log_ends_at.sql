-- Where some partitions ended at time $3: the first offset taken later; primary key of log_records.
-- Times of a partition do not go back, so that halving its offsets finds the place in a few looks.
WITH RECURSIVE halved (topic, partition, low, high) AS (
    SELECT
        asked.topic,
        asked.partition,
        coalesce((
            SELECT stored.log_offset FROM trialog.log_records AS stored
            WHERE stored.topic = asked.topic AND stored.partition = asked.partition
            ORDER BY stored.log_offset LIMIT 1
        ), 0),
        coalesce((
            SELECT stored.log_offset + 1 FROM trialog.log_records AS stored
            WHERE stored.topic = asked.topic AND stored.partition = asked.partition
            ORDER BY stored.log_offset DESC LIMIT 1
        ), 0)
    FROM unnest($1::text[], $2::int[]) AS asked (topic, partition)
    UNION ALL
    SELECT
        halved.topic,
        halved.partition,
        CASE WHEN middle.at_us <= $3::bigint THEN middle.log_offset + 1 ELSE halved.low END,
        CASE WHEN middle.at_us <= $3 THEN halved.high ELSE middle.log_offset END
    FROM halved
    JOIN trialog.log_records AS middle
        ON middle.topic = halved.topic AND middle.partition = halved.partition
        AND middle.log_offset = (halved.low + halved.high) / 2
    WHERE halved.low < halved.high
)
SELECT topic, partition, low FROM halved WHERE low >= high
