// One statement a block, each safe to repeat. Single-property uniqueness exists in every edition of Neo4j.

// name: employee_id
CREATE CONSTRAINT employee_id IF NOT EXISTS FOR (n:Employee) REQUIRE n.id IS UNIQUE;

// name: seen_k
CREATE CONSTRAINT seen_k IF NOT EXISTS FOR (n:SeenEvent) REQUIRE n.k IS UNIQUE;

// name: cursor_id
CREATE CONSTRAINT cursor_id IF NOT EXISTS FOR (n:IngestCursor) REQUIRE n.id IS UNIQUE;

// name: outbox_id
CREATE CONSTRAINT outbox_id IF NOT EXISTS FOR (n:Outbox) REQUIRE n.id IS UNIQUE;

// name: load_part_id
CREATE CONSTRAINT load_part_id IF NOT EXISTS FOR (n:LoadPart) REQUIRE n.id IS UNIQUE;
