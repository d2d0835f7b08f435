// The statements of one ingest transaction, in the order in which they run. The write comes before any read: read
// committed isolation would otherwise let two writers both find that an event was never seen. On a server without locks
// the second writer of the cursor fails at its commit, with all that it read, and runs again. Statements cost a round trip
// and a plan each, as much as fifty ties: what stands side by side in time is one statement.

// name: lock
MERGE (c:IngestCursor {id: 'lock'}) SET c.lk = $attempt;

// The ledger of event keys, read and written under the lock: what is not there is fresh. `c` tells a re-delivery from an
// id that was used twice, `r` marks what was withdrawn, `d` is the day of the event by its own time.
// name: seen
UNWIND $keys AS k
MATCH (s:SeenEvent {k: k})
RETURN s.k AS k, s.c AS c, s.r AS r;

// `lock` and `seen` in one: the only row there is at UNWIND has passed SET, and with it the lock.
// name: lock_and_see
MERGE (c:IngestCursor {id: 'lock'}) SET c.lk = $attempt
WITH c
UNWIND $keys AS k
MATCH (s:SeenEvent {k: k})
RETURN s.k AS k, s.c AS c, s.r AS r;

// CREATE, not MERGE: a third faster, and should the lock ever fail, the constraint refuses the second writer.
// name: remember
UNWIND $events AS e
CREATE (:SeenEvent {k: e.k, d: e.d, c: e.c});

// name: withdraw
UNWIND $keys AS k
MATCH (s:SeenEvent {k: k}) SET s.r = true;

// People in ascending order of id: nodes are locked before ties, in one order for all writers.
// name: add_people
UNWIND $people AS p
MERGE (n:Employee {id: p.id}) ON CREATE SET n.outside = p.outside;

// name: add_ties
UNWIND $ties AS t
MATCH (a:Employee {id: t.a})
MATCH (b:Employee {id: t.b})
MERGE (a)-[r:INTERACTS {medium: t.m}]->(b)
  ON CREATE SET r.n = t.n, r.seconds = t.s, r.strength = t.w, r.first = t.f, r.last = t.l
  ON MATCH SET r.n = r.n + t.n, r.seconds = r.seconds + t.s, r.strength = r.strength + t.w,
               r.first = CASE WHEN t.f < r.first THEN t.f ELSE r.first END,
               r.last = CASE WHEN t.l > r.last THEN t.l ELSE r.last END
RETURN count(*) AS done;

// name: set_ties
UNWIND $ties AS t
MATCH (a:Employee {id: t.a})-[r:INTERACTS {medium: t.m}]->(b:Employee {id: t.b})
SET r.n = t.n, r.seconds = t.s, r.strength = t.w, r.first = t.f, r.last = t.l;

// name: drop_ties
UNWIND $ties AS t
MATCH (a:Employee {id: t.a})-[r:INTERACTS {medium: t.m}]->(b:Employee {id: t.b})
DELETE r;

// A roster change is current only if no later one was applied: order of arrival does not matter.
// name: set_roster
UNWIND $changes AS c
MERGE (n:Employee {id: c.person}) ON CREATE SET n.outside = false
WITH n, c WHERE n.roster_at IS NULL OR n.roster_at < c.at OR (n.roster_at = c.at AND n.roster_key < c.key)
SET n.roster_at = c.at, n.roster_key = c.key, n.present = c.present,
    n.team = CASE WHEN c.present THEN c.team ELSE null END,
    n.role_class = coalesce(c.role_class, n.role_class),
    n.manager = coalesce(c.manager, n.manager),
    n.tz = coalesce(c.tz, n.tz);

// name: forget_people
UNWIND $people AS p
MATCH (n:Employee {id: p}) DETACH DELETE n;

// The last words of a transaction: what is left for the archive and the cache, how far we are, and away with what they took
// over before.
// name: leave
MERGE (c:IngestCursor {id: $cursor})
SET c.applied = coalesce(c.applied, 0) + $fresh, c.at = $now_ms
FOREACH (i IN $items | CREATE (:Outbox {id: i.id, people: i.people, payload: i.payload, at: i.at}))
WITH c
MATCH (o:Outbox) WHERE o.id IN $settled DELETE o;

// name: put_part
MERGE (p:LoadPart {id: $part}) ON CREATE SET p.a = $attempt, p.at = $now_ms
RETURN p.a = $attempt AS fresh;

// ---- outside the ingest transaction

// name: read_outbox
MATCH (o:Outbox) RETURN o.id AS id, o.people AS people, o.payload AS payload ORDER BY o.at LIMIT $limit;

// name: delete_outbox
MATCH (o:Outbox) WHERE o.id IN $ids DELETE o;

// name: read_cursor
MATCH (c:IngestCursor {id: $cursor})
RETURN c.applied AS applied, c.at AS at, c.stream AS stream, c.purged_day AS purged_day, c.rebuilding AS rebuilding,
       c.purged_before AS purged_before, c.retired_before AS retired_before;

// name: note_stream
MERGE (c:IngestCursor {id: $cursor}) SET c.stream = $stream;

// name: note_purge
MERGE (c:IngestCursor {id: $cursor}) 
SET c.purged_day = $day, c.purged_before = $purged_before, c.retired_before = $retired_before;

// name: note_rebuilding
MERGE (c:IngestCursor {id: $cursor}) SET c.rebuilding = $rebuilding;

// name: purge_seen
MATCH (s:SeenEvent) WHERE s.d < $day WITH s LIMIT $limit DELETE s RETURN count(*) AS purged;

// name: read_ties
MATCH (a:Employee)-[r:INTERACTS]->(b:Employee)
RETURN a.id AS a, b.id AS b, r.medium AS m, r.n AS n, r.seconds AS s, r.strength AS w, r.first AS f, r.last AS l;

// name: read_people
MATCH (n:Employee) RETURN n.id AS id, n.team AS team, n.present AS present, n.outside AS outside;

// name: wipe_ties
MATCH (:Employee)-[r:INTERACTS]->(:Employee) WITH r LIMIT $limit DELETE r RETURN count(*) AS wiped;

// name: wipe_people
MATCH (n:Employee) WITH n LIMIT $limit DETACH DELETE n RETURN count(*) AS wiped;

// name: wipe_seen
MATCH (s:SeenEvent) WITH s LIMIT $limit DELETE s RETURN count(*) AS wiped;
