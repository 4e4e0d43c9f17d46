"""`python -m tests.integration.onlooker LOG TIMES`: a process that reads a log while others write it.

Each look must find every stream gapless from seq 1, positions increasing, and counts that never decrease.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.integration.databases import StationLog


def main(path: str, times: str) -> int:
    log = StationLog(Path(path))
    for _ in range(int(times)):
        seqs: dict[str, int] = {}
        counts: dict[str, int] = {}
        for row in log.rows():
            assert row.seq == seqs.get(row.stream, 0) + 1, row
            assert row.counts >= counts.get(row.stream, 0), row
            seqs[row.stream], counts[row.stream] = row.seq, row.counts
        assert seqs
        time.sleep(0.02)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
