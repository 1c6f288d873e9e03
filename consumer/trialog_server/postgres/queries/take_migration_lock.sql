-- Waits until no other process migrates; the lock lives as long as the session.
SELECT pg_advisory_lock($1)
