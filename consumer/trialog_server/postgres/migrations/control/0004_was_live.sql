-- A way back that is interrupted leaves tables that were live before: no rebuild may take those for
-- the beginning of its own.

ALTER TABLE trialog.generations ADD COLUMN was_live bool NOT NULL DEFAULT false;
UPDATE trialog.generations SET was_live = true WHERE status <> 'building';
