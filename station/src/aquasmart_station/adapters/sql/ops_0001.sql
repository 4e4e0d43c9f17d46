-- Schema of ops.db, version 1: what the station has to say besides telemetry, and its settings. Durable, beside log.db.
-- Additive changes only, so that old software opens any schema of the same major. Each table names its one writer.

-- written by: whoever has something to say (CLI, panel, sync) inserts; sync alone updates. Failed ones are kept.
CREATE TABLE operation (
  id              INTEGER PRIMARY KEY,
  type            TEXT NOT NULL,
  parameters      TEXT NOT NULL,            -- JSON, names as inside the station
  idempotency_key TEXT NOT NULL UNIQUE,     -- a UUID, the same over all retries
  trace_id        TEXT NOT NULL,
  txn_token       TEXT,                     -- the local change that this tells of
  if_match        TEXT,
  created_at_ms   INTEGER NOT NULL,
  state           TEXT NOT NULL DEFAULT 'pending'
                  CHECK (state IN ('pending', 'done', 'failed', 'refused', 'conflict', 'superseded')),
  attempts        INTEGER NOT NULL DEFAULT 0,   -- verified answers only
  next_at_ms      INTEGER NOT NULL DEFAULT 0,   -- for people; sync counts the wait on its own clock
  code            TEXT NOT NULL DEFAULT '',
  error           TEXT NOT NULL DEFAULT '',
  answer          TEXT,
  settled_at_ms   INTEGER                       -- by the cloud's time, so that no clock of the station ages it
) STRICT;
CREATE INDEX operation_pending ON operation (id) WHERE state = 'pending';

-- written by: sync (origin cloud; states of all rows); CLI and panel insert local rows, each with its operation in one
-- transaction. The former value of a local change stays until it is settled.
CREATE TABLE config (
  id        INTEGER PRIMARY KEY,
  origin    TEXT NOT NULL CHECK (origin IN ('cloud', 'local')),
  state     TEXT NOT NULL CHECK (state IN
            ('desired', 'trial', 'applied', 'unconfirmed', 'refused', 'rolled-back', 'conflict', 'superseded')),
  version   INTEGER,                        -- the cloud's; of a local change: in which the cloud has it
  sha256    TEXT,
  document  TEXT NOT NULL,                  -- cloud: the document; local: {"key": [...], "value": ...}
  former    TEXT,                           -- local: {"value": ...}
  base      TEXT,                           -- local: the cloud's document that it was made upon
  txn_token TEXT UNIQUE,
  at_ms     INTEGER NOT NULL,
  reasons   TEXT NOT NULL DEFAULT '[]',
  baseline  TEXT,                           -- trial: the figures of the ten minutes before
  trial_ms  INTEGER NOT NULL DEFAULT 0      -- trial: time judged so far, with the link up
) STRICT;
CREATE INDEX config_by_state ON config (state, id);

-- written by: CLI and panel insert; the owner of the kind executes and answers.
CREATE TABLE request (
  id             INTEGER PRIMARY KEY,
  kind           TEXT NOT NULL,             -- retry, resolve, drain: sync; swap: reader
  argument       TEXT NOT NULL,             -- JSON
  asked_at_ms    INTEGER NOT NULL,
  answered_at_ms INTEGER,
  answer         TEXT
) STRICT;

-- written by: sync. What the operator has to say to whoever stands before the station.
CREATE TABLE notice (
  number         INTEGER PRIMARY KEY,
  text           TEXT NOT NULL,
  sent_at_ms     INTEGER NOT NULL,
  received_at_ms INTEGER NOT NULL
) STRICT;

-- written by: sync. Key rotations: our own nonce is here before it is sent, and the same at each retry.
CREATE TABLE rotation (
  key_id      TEXT PRIMARY KEY,
  cloud_nonce TEXT NOT NULL,
  base_key_id TEXT NOT NULL,
  nonce       TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('offered', 'done', 'refused')),
  at_ms       INTEGER NOT NULL
) STRICT;

-- written by: sync. One row: who may write what is sync's here. Taken over under the exclusive sync.lock.
CREATE TABLE fence (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  number INTEGER NOT NULL,
  at_ms  INTEGER NOT NULL
) STRICT;
INSERT INTO fence VALUES (1, 0, 0);
