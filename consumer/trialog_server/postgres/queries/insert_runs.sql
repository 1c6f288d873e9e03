-- Add the runs that a batch creates, some of them deleted again; served by runs_pkey.
-- $1 … $13 the columns of the rows
INSERT INTO runs (
    run_id, account, experiment_id, name, name_is_unique, tags, parent_run_id,
    created_at, created_by, deleted_at, log_offset, deleted_offset, seq
)
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bool[], $6::jsonb[], $7::uuid[],
    $8::timestamptz[], $9::jsonb[], $10::timestamptz[], $11::bigint[],
    $12::bigint[], $13::bigint[]
)
