-- One page of an account's live experiments with their run counts and the total; experiments_created serves the order by time, experiments_live_name the order by name.
-- $1 account, $2 order, after which item: $3 its time, $4 its name, $5 its id; $6 rows at most
-- Only the branch of the asked order is executed: the others end at their constant condition.
WITH page AS (
    (SELECT e.*, row_number() OVER (ORDER BY e.created_at DESC, e.experiment_id DESC) AS place
     FROM live.experiments e
     WHERE $2::text = 'CreationTime Descending' AND e.account = $1 AND e.deleted_at IS NULL
       AND (e.created_at, e.experiment_id)
         < (coalesce($3::timestamptz, 'infinity'), coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
     ORDER BY e.created_at DESC, e.experiment_id DESC LIMIT $6)
    UNION ALL
    (SELECT e.*, row_number() OVER (ORDER BY e.created_at, e.experiment_id)
     FROM live.experiments e
     WHERE $2 = 'CreationTime Ascending' AND e.account = $1 AND e.deleted_at IS NULL
       AND (e.created_at, e.experiment_id)
         > (coalesce($3::timestamptz, '-infinity'), coalesce($5::uuid, '00000000-0000-0000-0000-000000000000'))
     ORDER BY e.created_at, e.experiment_id LIMIT $6)
    UNION ALL
    (SELECT e.*, row_number() OVER (ORDER BY e.name DESC, e.experiment_id DESC)
     FROM live.experiments e
     WHERE $2 = 'Name Descending' AND e.account = $1 AND e.deleted_at IS NULL
       AND ($4::text IS NULL OR (e.name, e.experiment_id) < ($4, $5))
     ORDER BY e.name DESC, e.experiment_id DESC LIMIT $6)
    UNION ALL
    (SELECT e.*, row_number() OVER (ORDER BY e.name, e.experiment_id)
     FROM live.experiments e
     WHERE $2 = 'Name Ascending' AND e.account = $1 AND e.deleted_at IS NULL
       AND ($4 IS NULL OR (e.name, e.experiment_id) > ($4, $5))
     ORDER BY e.name, e.experiment_id LIMIT $6)
)
SELECT
    counted.total,
    page.experiment_id,
    page.account,
    page.number,
    page.name,
    page.description,
    page.tags,
    page.created_at,
    page.created_by,
    page.modified_at,
    page.modified_by,
    (SELECT count(*) FROM live.runs r
     WHERE r.experiment_id = page.experiment_id AND r.deleted_at IS NULL) AS run_count
FROM (
    SELECT count(*) AS total FROM live.experiments e
    WHERE e.account = $1 AND e.deleted_at IS NULL
) AS counted
LEFT JOIN page ON true
ORDER BY page.place;
