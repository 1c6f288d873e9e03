-- How far the live tables are: the next offset of every partition; leases is a handful of rows.
SELECT l.topic, l.partition, l.next_offset
FROM trialog.leases l
JOIN trialog.generations g ON g.generation = l.generation
WHERE g.status = 'live';
