"""A station between two power cuts: tells what survived, checks, counts, and tells each row once it is committed.

Runs as the first process. The rows are read by a connection of its own, which sees a row only when its commit is over:
in WAL mode a commit becomes visible after its frames are on the drive.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, "/guest")
from ports import port

DATA = "/var/lib/aquasmart"
LOG = f"{DATA}/log.db"
OLD = f"{DATA}/old"
SAID = dict(word.split("=", 1) for word in open("/proc/cmdline").read().split() if "=" in word)
RUN = "from aquasmart_station.cli.entry import main; main()"
REPORT = port("report")
ROWS = (
    "SELECT e.position, lower(hex(s.id)), e.seq, e.seqs, e.counts FROM event e JOIN stream s USING (stream)"
    " WHERE e.position > ? ORDER BY e.position"
)


def tell(*words):
    os.write(REPORT, (" ".join(map(str, words)) + "\n").encode())


def survived(path, since):
    """What is in a log before anybody has mended anything."""
    if not os.path.exists(path):
        tell("NONE", path)
        return
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    said = connection.execute("PRAGMA quick_check").fetchone()[0]
    for row in connection.execute(ROWS, (since,)):
        tell("HAVE", *row)
    last = connection.execute("SELECT coalesce(max(position), 0), count(*) FROM event").fetchone()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    tell("SURVIVED", path, said.replace(" ", "_"), version, *last)


def configure():
    text = open(f"{DATA}/station.toml").read()
    os.makedirs("/run/aquasmart", exist_ok=True)
    with open("/run/station.toml", "w") as file:
        file.write(text.replace("BUDGET_MIB", SAID.get("budget", "512")))
    shutil.copy(f"{DATA}/station.key", "/run/station.key")
    os.chmod("/run/station.key", 0o600)


def marked(number, *words, config="/run/station.toml"):
    return subprocess.Popen(["python3", "/guest/marked.py", number, "--config", config, *words])


def migrate_again_and_again():
    """An old log, opened until somebody pulls the plug: what the reader does first after an update."""
    words = ["python3", "/guest/marked.py", "migration", "--migrate", f"{DATA}/old-log.db", f"{OLD}/log.db"]
    subprocess.run(words)


def main():
    survived(LOG, int(SAID.get("since", "0")))
    if os.path.exists(OLD):
        survived(f"{OLD}/log.db", 1 << 60)
    configure()
    checked = subprocess.run(["python3", "/guest/marked.py", "reader", "--config", "/run/station.toml", "check"])
    tell("CHECKED", checked.returncode)
    services = [marked("reader", "reader")]
    if SAID.get("synchronous") != "OFF":
        # Not in the control: sync's own commits would flush the reader's frames along with its own.
        services.append(subprocess.Popen(["python3", "-c", RUN, "--config", "/run/station.toml", "sync"]))
    if SAID.get("aim") == "migration" and os.fork() == 0:
        migrate_again_and_again()
    report(services)


def report(services):
    while not os.path.exists(LOG):
        time.sleep(0.05)
    connection = sqlite3.connect(f"file:{LOG}?mode=ro", uri=True, timeout=20)
    last = connection.execute("SELECT coalesce(max(position), 0) FROM event").fetchone()[0]
    tell("COUNTING", last)
    while True:
        for row in connection.execute(ROWS, (last,)).fetchall():
            tell("ROW", *row)
            last = row[0]
        if any(service.poll() is not None for service in services):
            tell("ENDED", *(service.poll() for service in services))
            time.sleep(5)
        time.sleep(0.01)


main()
