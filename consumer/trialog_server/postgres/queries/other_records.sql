-- Where records that a generation was made of are others in another one; see function trialog.other_records.
-- $1 and $2 schemas of the two, $3 topics, $4 partitions, $5 offsets before which is compared
SELECT topic, partition, first_offset FROM trialog.other_records($1, $2, $3, $4, $5)
