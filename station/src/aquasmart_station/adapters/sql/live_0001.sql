-- Schema of live.db: volatile, on tmpfs. Each table names its one writer.

-- written by: reader
CREATE TABLE IF NOT EXISTS reader_state (
  one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, beat_mono_ms INTEGER NOT NULL,
  beat_at_ms INTEGER NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL, figures TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS reader_meter (
  meter_id TEXT PRIMARY KEY, state TEXT NOT NULL, epoch TEXT, counts INTEGER, raw_counts INTEGER,
  flow_ul_s INTEGER, at_ms INTEGER, text TEXT NOT NULL, figures TEXT NOT NULL
) STRICT;

-- written by: sync
CREATE TABLE IF NOT EXISTS sync_state (
  one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, beat_mono_ms INTEGER NOT NULL,
  beat_at_ms INTEGER NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL, figures TEXT NOT NULL
) STRICT;
