-- Free claims that are still this worker's; served by leases_pkey.
-- $1 generation, $2 topics, $3 partitions, $4 epochs
UPDATE trialog.leases AS held
SET owner = NULL, until = NULL
FROM unnest($2::text[], $3::int[], $4::bigint[]) AS mine (topic, partition, epoch)
WHERE held.generation = $1 AND held.topic = mine.topic AND held.partition = mine.partition
  AND held.epoch = mine.epoch
