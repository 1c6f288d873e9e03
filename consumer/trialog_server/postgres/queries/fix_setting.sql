-- Stores a setting unless it has a value, and returns the value it has; primary key of settings.
WITH stored AS (
    INSERT INTO trialog.settings (name, value) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET value = settings.value
    RETURNING value
)
SELECT value FROM stored
