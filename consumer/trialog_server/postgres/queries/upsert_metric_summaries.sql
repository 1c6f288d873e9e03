-- Store the summaries of metrics as the worker knows them; served by metric_summaries_pkey.
-- $1 … $13 the columns of the rows. The partition's only worker keeps them: nothing is merged here.
INSERT INTO metric_summaries (
    run_id, name, points, last, last_step, last_index, min, max, total, counted,
    first_at, last_at, log_offset
)
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::bigint[], $4::double precision[], $5::bigint[], $6::bigint[],
    $7::double precision[], $8::double precision[], $9::double precision[], $10::bigint[],
    $11::timestamptz[], $12::timestamptz[], $13::bigint[]
)
ON CONFLICT (run_id, name) DO UPDATE
SET points = EXCLUDED.points,
    last = EXCLUDED.last,
    last_step = EXCLUDED.last_step,
    last_index = EXCLUDED.last_index,
    min = EXCLUDED.min,
    max = EXCLUDED.max,
    total = EXCLUDED.total,
    counted = EXCLUDED.counted,
    first_at = EXCLUDED.first_at,
    last_at = EXCLUDED.last_at,
    log_offset = EXCLUDED.log_offset
