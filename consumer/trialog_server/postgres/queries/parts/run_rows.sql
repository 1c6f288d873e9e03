-- The runs of page with parameters, metric summaries and newest artifacts, and how many there are by `counted`; parameters_pkey, metric_summaries_pkey and artifacts_pkey serve them.
SELECT
    counted.total,
    page.run_id,
    page.account,
    page.run_name,
    page.experiment_id,
    page.experiment_name,
    page.experiment_number,
    coalesce(s.status, 'InProgress') AS status,
    s.failure_message,
    page.created_at,
    page.deleted_at,
    coalesce(s.started_at, page.created_at) AS started_at,
    s.ended_at,
    coalesce(s.last_event_at, page.created_at) AS last_event_at,
    page.parent_run_id,
    (SELECT parent.name FROM runs parent
     WHERE parent.run_id = page.parent_run_id AND parent.account = page.account
       AND parent.deleted_at IS NULL) AS parent_run_name,
    page.created_by,
    page.tags,
    s.tags AS tags_set,
    s.limits,
    coalesce(s.points, 0) AS points,
    coalesce(s.rejected, 0) AS rejected,
    (SELECT coalesce(sum(gap.last_seq - gap.first_seq + 1), 0)::bigint FROM gaps gap
     WHERE gap.run_id = page.run_id) AS missing,
    parameter_rows.names AS parameter_names,
    parameter_rows.json_values AS parameter_values,
    metric_rows.names AS metric_names,
    metric_rows.last AS metric_last,
    metric_rows.last_step AS metric_last_step,
    metric_rows.last_at AS metric_last_at,
    metric_rows.min AS metric_min,
    metric_rows.max AS metric_max,
    metric_rows.mean AS metric_mean,
    metric_rows.points AS metric_points,
    artifact_rows.artifacts,
    page.log_offset,
    page.seq,
    page.found,
    page.place,
    page.key_rank,
    page.key_number,
    page.key_text
FROM counted
LEFT JOIN page ON true
LEFT JOIN run_states s ON s.run_id = page.run_id
LEFT JOIN LATERAL (
    SELECT array_agg(p.name ORDER BY p.name) AS names,
           array_agg(p.value ORDER BY p.name) AS json_values
    FROM parameters p WHERE p.run_id = page.run_id
) AS parameter_rows ON true
LEFT JOIN LATERAL (
    SELECT array_agg(m.name ORDER BY m.name) AS names,
           array_agg(m.last ORDER BY m.name) AS last,
           array_agg(m.last_step ORDER BY m.name) AS last_step,
           array_agg(m.last_at ORDER BY m.name) AS last_at,
           array_agg(m.min ORDER BY m.name) AS min,
           array_agg(m.max ORDER BY m.name) AS max,
           array_agg(m.total / nullif(m.counted, 0) ORDER BY m.name) AS mean,
           array_agg(m.points ORDER BY m.name) AS points
    FROM metric_summaries m WHERE m.run_id = page.run_id
) AS metric_rows ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object(
               'name', newest.name, 'version', newest.version, 'kind', newest.kind,
               'sha256', encode(newest.sha256, 'hex'), 'size', newest.size,
               'media_type', newest.media_type, 'is_output', newest.is_output,
               'uri', newest.uri, 'model', newest.model
           ) ORDER BY newest.name) AS artifacts
    FROM (
        SELECT DISTINCT ON (a.name) a.* FROM artifacts a
        WHERE a.run_id = page.run_id ORDER BY a.name, a.version DESC
    ) AS newest
) AS artifact_rows ON true
ORDER BY page.place;
