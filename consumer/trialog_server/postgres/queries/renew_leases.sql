-- Renew the claims that are still this worker's and return where those stand; served by leases_pkey.
-- $1 generation, $2 seconds a claim holds, $3 topics, $4 partitions, $5 epochs
UPDATE trialog.leases AS held
SET until = clock_timestamp() + $2::double precision * interval '1 second'
FROM unnest($3::text[], $4::int[], $5::bigint[]) AS mine (topic, partition, epoch)
WHERE held.generation = $1 AND held.topic = mine.topic AND held.partition = mine.partition
  AND held.epoch = mine.epoch AND held.owner IS NOT NULL
RETURNING held.topic, held.partition, held.next_offset,
          coalesce(held.chain, ''::bytea) AS chain, held.chain_before
