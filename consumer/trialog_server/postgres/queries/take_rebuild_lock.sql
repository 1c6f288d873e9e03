-- Whether this session is now the only one that rebuilds; the lock lives as long as the session.
SELECT pg_try_advisory_lock($1)
