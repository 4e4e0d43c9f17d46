-- Schema of ops.db, version 2: what sync would ask first after a restart. Additive: software of version 1 opens it.

-- written by: sync. How many stations the cloud says there are: over so many a first request spreads, also that of a
-- process which has heard nothing yet. Renewed only where the spread would be another (core/pacing.py).
CREATE TABLE fleet (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  stations INTEGER NOT NULL
) STRICT;
