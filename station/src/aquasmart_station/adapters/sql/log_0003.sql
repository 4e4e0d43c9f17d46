-- Schema of log.db, version 3: what the cloud refuses for good. Additive: software of version 1 opens it.

-- written by: sync. Events that the cloud refused while it accepted the same batch with their `gap` in the place. The row
-- is kept here as the log had it, since the log's own is pruned as delivered; sync derives the gap from this table again
-- whenever the stream is sent anew. No rowid: salvage tells the log's tables apart by the form of their rows.
CREATE TABLE dead_letter (
  stream        INTEGER NOT NULL,
  seq           INTEGER NOT NULL,
  counts_before INTEGER NOT NULL,
  row           TEXT NOT NULL,           -- JSON
  code          TEXT NOT NULL,           -- why: the problem's code and detail
  detail        TEXT NOT NULL,
  trace_id      TEXT NOT NULL,           -- under which the cloud's log has the refusal
  at_ms         INTEGER NOT NULL,
  resent_at_ms  INTEGER,                 -- when a retry by hand was taken by the cloud
  fencing       INTEGER NOT NULL,        -- which sync wrote it
  PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
