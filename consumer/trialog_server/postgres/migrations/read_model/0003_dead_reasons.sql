-- A record is listed once for each reason, not for the first alone: what a later release can read of
-- it must be seen beside what it cannot. Of rows from before, later reasons of a record are missing;
-- `trialog verify` shows that, `trialog rebuild` mends it.

ALTER TABLE dead DROP CONSTRAINT dead_pkey;
ALTER TABLE dead ADD PRIMARY KEY (topic, partition, log_offset, reason);
CREATE INDEX dead_reason ON dead (reason);
