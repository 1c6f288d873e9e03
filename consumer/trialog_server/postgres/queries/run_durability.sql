-- What the tables hold of a run, deleted or not, in counts; served by the primary keys.
-- $1 account, $2 run id
SELECT
    state.partition,
    coalesce(state.points, 0) AS points,
    (SELECT jsonb_object_agg(refused.code, refused.refusals)
     FROM (
         SELECT refusal.code, count(*) AS refusals FROM live.rejections refusal
         WHERE refusal.run_id = run.run_id GROUP BY refusal.code
     ) AS refused) AS rejected,
    (SELECT coalesce(sum(gap.last_seq - gap.first_seq + 1), 0)::bigint FROM live.gaps gap
     WHERE gap.run_id = run.run_id) AS missing_count
FROM live.runs run
LEFT JOIN live.run_states state ON state.run_id = run.run_id
WHERE run.account = $1 AND run.run_id = $2
