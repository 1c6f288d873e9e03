-- Removes the records of a partition before an offset; primary key of log_records.
DELETE FROM trialog.log_records WHERE topic = $1 AND partition = $2 AND log_offset < $3
