-- Store what the events say of runs; served by run_states_pkey.
-- $1 … $15 the columns of the rows
INSERT INTO run_states (
    run_id, account, status, started_at, ended_at, failure_message, failed_for_good,
    last_event_at, limits, rules_version, tags, points, rejected, partition, log_offset
)
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[],
    $7::bool[], $8::timestamptz[], $9::jsonb[], $10::int[], $11::jsonb[], $12::bigint[],
    $13::bigint[], $14::int[], $15::bigint[]
)
ON CONFLICT (run_id) DO UPDATE
SET status = EXCLUDED.status,
    started_at = EXCLUDED.started_at,
    ended_at = EXCLUDED.ended_at,
    failure_message = EXCLUDED.failure_message,
    failed_for_good = EXCLUDED.failed_for_good,
    last_event_at = EXCLUDED.last_event_at,
    limits = EXCLUDED.limits,
    rules_version = EXCLUDED.rules_version,
    tags = EXCLUDED.tags,
    points = EXCLUDED.points,
    rejected = EXCLUDED.rejected,
    log_offset = EXCLUDED.log_offset
