-- Give up waiting for a lock after so long, until the transaction ends. $1 such as '200ms'
SELECT set_config('lock_timeout', $1, true)
