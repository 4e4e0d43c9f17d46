"""A command of the station whose work on the log is told to the host as it begins and ends.

Nothing of the product is replaced: sqlite3's connection is the real one, each statement told before and after. A word
leaves before its statement begins, since a write to the port returns when the host has it: what the host heard last is
what was under way at a cut.

`marked.py PORT WORDS…`; with `synchronous=OFF` on the kernel's command line, commits no longer wait for the drive: the
negative control, which must lose what it has told.
"""

import os
import pathlib
import shutil
import sqlite3
import sys

sys.path.insert(0, "/guest")
from ports import port

PORT = port(sys.argv[1])
OFF = "synchronous=OFF" in open("/proc/cmdline").read().split()
connect = sqlite3.connect


def word_of(sql, deleting):
    head = " ".join(sql.split()[:4]).upper()
    if head.startswith("BEGIN EXCLUSIVE"):
        return "migration"
    if head.startswith("DELETE FROM EVENT"):
        return "prune"
    if head.startswith("PRAGMA WAL_CHECKPOINT"):
        return "checkpoint"
    if head.startswith("COMMIT"):
        return "prune" if deleting else "commit"
    return None


class Told(sqlite3.Connection):
    deleting = False
    migrating = False

    def execute(self, sql, parameters=()):
        if OFF and sql.upper().replace(" ", "") == "PRAGMASYNCHRONOUS=FULL":
            sql = "PRAGMA synchronous = OFF"
        word = word_of(sql, self.deleting)
        if word == "migration":
            self.migrating = True
        if self.migrating:
            word = "migration"
        if word is None:
            return super().execute(sql, parameters)
        os.write(PORT, b"+" + word.encode() + b"\n")
        try:
            return super().execute(sql, parameters)
        finally:
            if sql.lstrip().upper().startswith(("COMMIT", "ROLLBACK")):
                self.deleting = self.migrating = False
            if not self.migrating:
                os.write(PORT, b"-" + word.encode() + b"\n")

    def executemany(self, sql, parameters):
        word = word_of(sql, False)
        if word != "prune":
            return super().executemany(sql, parameters)
        self.deleting = True
        os.write(PORT, b"+prune\n")
        return super().executemany(sql, parameters)


def migrate(source, target):
    """Open an old log as the reader does, and again, a fresh copy each time."""
    from aquasmart_station.adapters.log_writer import LogWriter

    while True:
        shutil.rmtree(os.path.dirname(target), ignore_errors=True)
        os.makedirs(os.path.dirname(target))
        shutil.copy(source, target)
        os.sync()
        writer = LogWriter(pathlib.Path(target))
        writer.open()
        writer.close()


sqlite3.connect = lambda *words, **settings: connect(*words, **{"factory": Told, **settings})
if sys.argv[2] == "--migrate":
    migrate(*sys.argv[3:])
sys.argv = ["aquasmart", *sys.argv[2:]]
from aquasmart_station.cli.entry import main  # noqa: E402

main()
