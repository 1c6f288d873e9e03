-- Forget of partitions how far they are sealed where that is beyond a place; a table of few rows.
-- $1 topics, $2 partitions, $3 offsets from which on the log has other records than were signed
DELETE FROM trialog.seals AS s
USING unnest($1::text[], $2::int[], $3::bigint[]) AS other (topic, partition, log_offset)
WHERE s.topic = other.topic AND s.partition = other.partition AND s.records > other.log_offset
