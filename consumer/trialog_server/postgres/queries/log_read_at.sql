-- Records at given offsets of one partition; primary key of log_records.
SELECT log_offset, at_us, key, value
FROM trialog.log_records
WHERE topic = $1 AND partition = $2 AND log_offset = ANY($3::bigint[])
ORDER BY log_offset
