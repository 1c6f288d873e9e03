-- Looks up unqualified names in one schema, until the transaction ends.
SELECT set_config('search_path', $1, true)
