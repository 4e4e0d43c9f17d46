-- Schema of log.db, version 2: what the station knows about time. Additive: software of version 1 opens it.

-- written by: reader. How far a boot's wall clock stands from the true time, stored once the clock is known. Sync adds it
-- when it encodes; rows are never rewritten.
CREATE TABLE boot_clock (
  boot_id    TEXT PRIMARY KEY,
  offset_ms  INTEGER NOT NULL,           -- wall time minus monotonic time, as known at at_mono_ms
  source     TEXT NOT NULL,
  at_mono_ms INTEGER NOT NULL
) STRICT;

-- written by: sync. One row: the cloud's time in the last answer whose signature verified; the clock's floor.
CREATE TABLE cloud_time (
  one            INTEGER PRIMARY KEY CHECK (one = 1),
  server_time_ms INTEGER NOT NULL
) STRICT;
