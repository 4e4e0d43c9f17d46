-- Schema of log.db, version 1. Additive changes only, so that old software opens any schema of the same major.
-- Each table names its one writer.

-- written by: reader. Stream headers (docs/protocol.md §3); never pruned.
CREATE TABLE stream (
  stream        INTEGER PRIMARY KEY,      -- short number that event rows use, in order of opening
  id            BLOB NOT NULL UNIQUE,     -- the random UUID, 16 bytes
  meter_id      TEXT,                     -- NULL: the meterless stream of a run
  header        TEXT NOT NULL,            -- the header as the wire has it, JSON
  first_position INTEGER NOT NULL,
  -- Where the stream ends. Set when a meter's stream is closed (the next one opens), and at every row of a meterless
  -- stream, whose rows are rare; NULL while a meter's stream is open: keeping it there would cost a page a commit.
  tail_seq      INTEGER,
  tail_counts   INTEGER,
  tail_position INTEGER
) STRICT;

-- written by: reader. Events, immutable except merging and pruning by the reader. A plain integer key and no second
-- index: measured, AUTOINCREMENT or another index costs half as much flash again.
CREATE TABLE event (
  position INTEGER PRIMARY KEY,
  stream   INTEGER NOT NULL,
  seq      INTEGER NOT NULL,
  seqs     INTEGER NOT NULL,
  kind     INTEGER NOT NULL,
  flags    INTEGER NOT NULL,
  at_ms    INTEGER NOT NULL,
  mono_ms  INTEGER NOT NULL,
  counts   INTEGER NOT NULL,
  data     TEXT,
  crc32    INTEGER NOT NULL
) STRICT;

-- written by: sync. The high-water mark of each stream. Outlives the stream's events.
CREATE TABLE delivery (
  stream        INTEGER PRIMARY KEY,
  acked_seq     INTEGER NOT NULL,
  acked_counts  INTEGER NOT NULL,         -- counts at acked_seq, acknowledged by a signed answer
  position_hint INTEGER NOT NULL,         -- position of acked_seq, verified when used, rescanned when wrong
  acked_at_ms   INTEGER NOT NULL,
  fencing       INTEGER NOT NULL          -- which sync wrote it
) STRICT;

-- written by: sync. One row: who may write `delivery`. Taken over under the exclusive sync.lock.
CREATE TABLE fence (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  number INTEGER NOT NULL,
  pid    INTEGER NOT NULL,
  at_ms  INTEGER NOT NULL
) STRICT;
INSERT INTO fence VALUES (1, 0, 0, 0);
