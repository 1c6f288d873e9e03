-- One page of an account's live experiments with their run counts and the total; experiments_created serves the order by time, experiments_live_name the order by name.
-- $1 account, $2 order, after which item: $3 its time, $4 its name, $5 its number; $6 rows at most
-- Only the branch of the asked order is executed: the others end at their constant condition.
WITH page AS (
    (SELECT e.*, row_number() OVER (ORDER BY e.created_at DESC, e.number DESC) AS place
     FROM experiments e
     WHERE $2::text = 'CreationTime Descending' AND e.account = $1 AND e.deleted_at IS NULL
       AND (e.created_at, e.number)
         < (coalesce($3::timestamptz, 'infinity'), coalesce($5::bigint, 0))
     ORDER BY e.created_at DESC, e.number DESC LIMIT $6)
    UNION ALL
    (SELECT e.*, row_number() OVER (ORDER BY e.created_at, e.number)
     FROM experiments e
     WHERE $2 = 'CreationTime Ascending' AND e.account = $1 AND e.deleted_at IS NULL
       AND (e.created_at, e.number)
         > (coalesce($3::timestamptz, '-infinity'), coalesce($5, 0))
     ORDER BY e.created_at, e.number LIMIT $6)
    UNION ALL
    (SELECT e.*, row_number() OVER (ORDER BY e.name DESC, e.number DESC)
     FROM experiments e
     WHERE $2 = 'Name Descending' AND e.account = $1 AND e.deleted_at IS NULL
       AND ($4::text IS NULL OR (e.name, e.number) < ($4, $5))
     ORDER BY e.name DESC, e.number DESC LIMIT $6)
    UNION ALL
    (SELECT e.*, row_number() OVER (ORDER BY e.name, e.number)
     FROM experiments e
     WHERE $2 = 'Name Ascending' AND e.account = $1 AND e.deleted_at IS NULL
       AND ($4 IS NULL OR (e.name, e.number) > ($4, $5))
     ORDER BY e.name, e.number LIMIT $6)
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
    page.deleted_at,
    page.modified_at,
    page.modified_by,
    (SELECT count(*) FROM runs r
     WHERE r.experiment_id = page.experiment_id AND r.deleted_at IS NULL) AS run_count
FROM (
    SELECT count(*) AS total FROM experiments e
    WHERE e.account = $1 AND e.deleted_at IS NULL
) AS counted
LEFT JOIN page ON true
ORDER BY page.place;
