-- Store how far each writer's count and chain are; served by writers_pkey.
-- $1 run ids, $2 writer ids, $3 last seqs, $4 chains, $5 offsets of their last events
INSERT INTO writers (run_id, writer_id, last_seq, chain, log_offset)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bytea[], $5::bigint[])
ON CONFLICT (run_id, writer_id) DO UPDATE
SET last_seq = EXCLUDED.last_seq, chain = EXCLUDED.chain, log_offset = EXCLUDED.log_offset
