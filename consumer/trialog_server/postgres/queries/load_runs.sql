-- What the rules and the summaries need to know of runs, one row a run; served by the primary keys.
-- $1 run ids, $2 points below which a chunk is small. Rows of other tables come as arrays.
SELECT
    wanted.run_id,
    state.account, state.status, state.started_at, state.ended_at, state.failure_message,
    state.failed_for_good, state.last_event_at, state.limits, state.rules_version, state.tags,
    state.points, state.rejected, state.log_offset,
    ARRAY(
        SELECT ROW (writer.writer_id, writer.last_seq, writer.chain)
        FROM writers AS writer WHERE writer.run_id = wanted.run_id
    ) AS writers,
    ARRAY(
        SELECT ROW (hole.writer_id, hole.first_seq, hole.last_seq, hole.log_offset)
        FROM gaps AS hole WHERE hole.run_id = wanted.run_id AND hole.first_seq <= hole.last_seq
        ORDER BY hole.writer_id, hole.first_seq
    ) AS holes,
    ARRAY(
        SELECT ROW (parameter.name, parameter.value)
        FROM parameters AS parameter WHERE parameter.run_id = wanted.run_id
    ) AS parameters,
    ARRAY(
        SELECT ROW (
            metric.name, metric.points, metric.last, metric.last_step, metric.last_index,
            metric.min, metric.max, metric.total, metric.counted,
            metric.first_at, metric.last_at, metric.log_offset,
            (SELECT count(*) FROM metric_chunks AS chunk
             WHERE chunk.run_id = wanted.run_id AND chunk.name = metric.name
               AND chunk.points < $2)
        )
        FROM metric_summaries AS metric WHERE metric.run_id = wanted.run_id
    ) AS metrics,
    ARRAY(
        SELECT DISTINCT ON (artifact.name) ROW (
            artifact.name, artifact.version, encode(artifact.sha256, 'hex'), artifact.uri,
            artifact.model
        )
        FROM artifacts AS artifact WHERE artifact.run_id = wanted.run_id
        ORDER BY artifact.name, artifact.version DESC
    ) AS artifacts,
    (SELECT ROW (parked.log_offset, parked.reason) FROM parked
     WHERE parked.run_id = wanted.run_id ORDER BY parked.log_offset LIMIT 1) AS parked
FROM unnest($1::uuid[]) AS wanted (run_id)
LEFT JOIN run_states AS state ON state.run_id = wanted.run_id
