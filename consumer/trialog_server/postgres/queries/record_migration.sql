-- Notes that a migration was applied, in the transaction that applied it.
INSERT INTO trialog.migrations (scope, name) VALUES ($1, $2)
