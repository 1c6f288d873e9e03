-- How many records are listed as dead for each of some reasons; served by dead_reason.
-- $1 the reasons
SELECT reason, count(*) AS records
FROM dead
WHERE reason = ANY ($1::text[])
GROUP BY reason
ORDER BY reason COLLATE "C"
