"""A change of the master key in a process that kills itself: run as `python -m … FILE URL KILL_AT`.

Boundaries are those of tests.fakes.boundaries and, on PostgreSQL, each statement too. Exit status 0: none was left.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from aquasmart_cloud.services import rekeying
from aquasmart_cloud.store import resealing
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.pipelining import Pipelined
from tests.fakes.boundaries import Boundaries


def rekey(folder: str) -> None:
    """In one folder with its SQLite file, a few rows in each transaction."""
    resealing.PORTION = 2
    database = Database(f"sqlite:///{folder}/cloud.db")
    rekeying.rekey(Path(folder) / "master.key", database)
    database.close()


def main() -> None:
    file, url, kill_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    boundaries, execute = Boundaries(kill_at), Pipelined.execute

    def counted(self: Pipelined, *words: Any) -> Any:
        boundaries.reach()
        return execute(self, *words)

    Pipelined.execute = counted  # type: ignore[method-assign]
    resealing.PORTION = 2
    boundaries.install()
    rekeying.rekey(file, Database(url))


if __name__ == "__main__":
    main()
