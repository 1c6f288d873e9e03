-- Records from given offsets on, about $5 bytes a partition; primary key of log_records. Summing
-- up octet_length reads no value: the length stands beside the pointer to where the bytes are.
SELECT asked.topic, asked.partition, found.log_offset, found.at_us, found.key, found.value
FROM unnest($1::text[], $2::int[], $3::bigint[]) AS asked (topic, partition, next_offset)
CROSS JOIN LATERAL (
    SELECT summed.log_offset, summed.at_us, summed.key, summed.value
    FROM (
        SELECT
            ahead.*,
            sum(octet_length(ahead.value)) OVER (ORDER BY ahead.log_offset) AS bytes_up_to,
            min(ahead.log_offset) OVER () AS first_offset
        FROM (
            SELECT stored.log_offset, stored.at_us, stored.key, stored.value
            FROM trialog.log_records AS stored
            WHERE
                stored.topic = asked.topic
                AND stored.partition = asked.partition
                AND stored.log_offset >= asked.next_offset
            ORDER BY stored.log_offset
            LIMIT $4
        ) AS ahead
    ) AS summed
    WHERE summed.bytes_up_to <= $5 OR summed.log_offset = summed.first_offset
) AS found
ORDER BY asked.topic, asked.partition, found.log_offset
