-- Claim free partitions, at most $4, and raise their epochs; a table of few rows.
-- $1 generation, $2 owner, $3 seconds the claim holds, $4 partitions wanted.
-- None of a generation that was replaced: its tables stay as they were then.
WITH free AS MATERIALIZED (
    -- A row that is locked has an owner at work: it is not free, whatever its time says.
    -- MATERIALIZED, because a join may run a plain subquery once a row: each run would skip what
    -- the one before has locked and claim other partitions, beyond the limit.
    SELECT topic, partition FROM trialog.leases
    WHERE generation = $1 AND (owner IS NULL OR until < clock_timestamp())
      AND EXISTS (
          SELECT 1 FROM trialog.generations WHERE generation = $1 AND status <> 'old'
      )
    ORDER BY topic, partition
    LIMIT $4
    FOR UPDATE SKIP LOCKED
)
UPDATE trialog.leases AS held
SET epoch = held.epoch + 1,
    owner = $2,
    until = clock_timestamp() + $3::double precision * interval '1 second'
FROM free
WHERE held.generation = $1 AND held.topic = free.topic AND held.partition = free.partition
RETURNING held.topic, held.partition, held.epoch, held.next_offset,
          coalesce(held.chain, ''::bytea) AS chain, held.chain_before
