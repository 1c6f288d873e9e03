-- Add the experiments that a batch creates, some of them deleted again; served by experiments_pkey.
-- $1 … $13 the columns of the rows
INSERT INTO experiments (
    experiment_id, account, number, name, description, tags,
    created_at, created_by, modified_at, modified_by, deleted_at, log_offset,
    deleted_offset
)
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::jsonb[],
    $7::timestamptz[], $8::jsonb[], $9::timestamptz[], $10::jsonb[], $11::timestamptz[],
    $12::bigint[], $13::bigint[]
)
