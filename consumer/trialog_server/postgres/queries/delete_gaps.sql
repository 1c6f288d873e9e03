-- Forget holes into which events came; what is left of them is added again. Served by gaps_pkey.
-- $1 run ids, $2 writer ids, $3 first seqs
DELETE FROM gaps AS gap
USING unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS filled (run_id, writer_id, first_seq)
WHERE gap.run_id = filled.run_id AND gap.writer_id = filled.writer_id
  AND gap.first_seq = filled.first_seq AND gap.first_seq <= gap.last_seq
