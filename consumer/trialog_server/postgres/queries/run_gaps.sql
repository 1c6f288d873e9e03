-- What is missing of a run's events, in order of the log; served by gaps_pkey.
-- $1 run id, $2 rows at most. A gap of no length is a chain that was broken before that seq.
SELECT gap.writer_id, gap.first_seq, gap.last_seq, gap.topic, gap.partition, gap.log_offset
FROM live.gaps gap WHERE gap.run_id = $1
ORDER BY gap.log_offset, gap.writer_id, gap.first_seq
LIMIT $2
