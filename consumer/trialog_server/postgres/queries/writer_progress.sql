-- How far writers are in the live tables, what of theirs is missing, and what was refused; served by the primary keys and parked_run.
-- $1 account, $2 run ids, $3 writer ids, $4 holes of a writer at most. The catalog has no account.
SELECT
    asked.run_id,
    asked.writer_id,
    coalesce(writer.last_seq, 0) AS last_seq,
    ARRAY(
        SELECT ROW (gap.first_seq, gap.last_seq) FROM live.gaps gap
        WHERE gap.run_id = writer.run_id AND gap.writer_id = writer.writer_id
          AND gap.first_seq <= gap.last_seq
        ORDER BY gap.first_seq LIMIT $4
    ) AS missing,
    (SELECT coalesce(sum(gap.last_seq - gap.first_seq + 1), 0)::bigint FROM live.gaps gap
     WHERE gap.run_id = writer.run_id AND gap.writer_id = writer.writer_id) AS missing_count,
    EXISTS (SELECT FROM live.parked WHERE parked.run_id = asked.run_id) AS is_parked,
    EXISTS (
        SELECT FROM live.runs run WHERE run.run_id = asked.run_id AND run.account = $1
    ) AS is_known,
    (SELECT jsonb_object_agg(refused.code, refused.refusals)
     FROM (
         SELECT refusal.code, count(*) AS refusals FROM live.rejections refusal
         WHERE refusal.run_id = writer.run_id AND refusal.writer_id = writer.writer_id
         GROUP BY refusal.code
     ) AS refused) AS rejected
FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS asked (run_id, writer_id, place)
LEFT JOIN live.run_states state ON state.run_id = asked.run_id AND state.account = $1
LEFT JOIN live.writers writer
    ON writer.run_id = asked.run_id AND writer.writer_id = asked.writer_id
    AND (state.run_id IS NOT NULL OR asked.run_id = '00000000-0000-0000-0000-000000000000')
ORDER BY asked.place
