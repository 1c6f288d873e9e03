-- Makes the table that says which migrations were applied; must exist before any of them.
CREATE SCHEMA IF NOT EXISTS trialog;
CREATE TABLE IF NOT EXISTS trialog.migrations (
    scope      text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, name)
);
