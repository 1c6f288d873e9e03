-- Until the transaction ends: give up waiting for a lock, and be ended when the client is silent.
-- $1 the one and $2 the other, such as '200ms'
SELECT set_config('lock_timeout', $1, true),
       set_config('idle_in_transaction_session_timeout', $2, true)
