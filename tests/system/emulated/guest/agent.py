"""What the host asks of an emulated machine: commands, its clocks, rows of its log. A plain program, for tests only.

One connection, one line of JSON, one answer. It is the tests' hand in the machine, as nsenter is in a container: the
station knows nothing of it.
"""

import json
import socketserver
import sqlite3
import subprocess
import time
from contextlib import closing

PORT = 7001


def run(words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


def query(path, sql, values):
    """Read-only, a connection for each question: a test must not hold the log open."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as connection:
            rows = connection.execute(sql, values).fetchall()
    except sqlite3.OperationalError as fault:
        return {"fault": str(fault)}
    return {"rows": [[{"hex": v.hex()} if isinstance(v, bytes) else v for v in row] for row in rows]}


def clocks(offset_ms):
    """Both clocks, read together; given an offset, the wall clock is first set to so much more than the monotonic."""
    if offset_ms is not None:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + offset_ms * 1_000_000)
    mono_ns, wall_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns()
    return {"mono_ms": mono_ns // 1_000_000, "wall_ms": wall_ns // 1_000_000}


DEEDS = {"run": run, "query": query, "clocks": clocks}


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        asked = json.loads(self.rfile.readline())
        said = DEEDS[asked["deed"]](*asked["with"])
        self.wfile.write(json.dumps(said).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("0.0.0.0", PORT), Answer).serve_forever()
