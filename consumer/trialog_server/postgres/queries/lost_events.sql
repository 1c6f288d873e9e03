-- Events that a generation has and another one lacks; see function trialog.lost_events.
-- $1 and $2 schemas of the two, $3 topics, $4 partitions, $5 offsets before which is compared
SELECT topic, run_id, run_name, experiment_name, writer_id, first_seq, last_seq
FROM trialog.lost_events($1, $2, $3, $4, $5)
