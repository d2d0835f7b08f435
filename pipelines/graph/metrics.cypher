// The values of the views on the nodes of people, and one node that says which views these are.

// name: metrics_state_id
CREATE CONSTRAINT metrics_state_id IF NOT EXISTS FOR (s:MetricsState) REQUIRE s.id IS UNIQUE;

// The lock of the ingest: two writers at a time are more than the embedded server can keep apart.
// name: lock_graph
MERGE (c:IngestCursor {id: 'lock'}) SET c.lk = $attempt;

// A value that is null takes the property away.
// name: put_values
UNWIND $rows AS r
MATCH (n:Employee {id: r.id})
SET n += r.values, n.metrics_version = $version, n.refreshed_at = $now_ms;

// What is left on people who are no longer among those that a refresh wrote.
// name: clear_values
MATCH (n:Employee) WHERE n.refreshed_at <> $now_ms
WITH n LIMIT $limit
SET n += $nothing
RETURN count(*) AS cleared;

// name: read_state
MATCH (s:MetricsState {id: 'graph'})
RETURN s.run AS run, s.people AS people, s.views AS views, s.others AS others;

// Nodes can come and go without the marker knowing (a rebuild, an erasure): it holds for as many nodes as were written.
// name: count_written
MATCH (n:Employee) WHERE n.refreshed_at IS NOT NULL RETURN count(*) AS people;

// name: note_state
MERGE (s:MetricsState {id: 'graph'})
SET s.run = $run, s.people = $people, s.views = $views, s.others = $others, s.fingerprint = $fingerprint, s.at = $now_ms;
