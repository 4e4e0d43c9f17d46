"""A worker of a test's own, as a process: the product's loop, lease and database, with one job that can be held.

Its job counts: reads a figure, waits while there is a file `hold`, writes the figure plus one. Whoever is stopped in
between has read something that another may have changed meanwhile.

Arguments: the database's URL, a folder for its files, its name.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from aquasmart_cloud.cli_worker import stoppable
from aquasmart_cloud.services.working import Worker
from aquasmart_cloud.store.database import Database


class Counting:
    """The job. It tells what it does in files, since the test is another process."""

    name = "counting"
    every_s = 0

    def __init__(self, database: Database, folder: Path, worker: str) -> None:
        self._database, self._folder, self._worker = database, folder, worker

    def cycle(self, _now_ms: int) -> str:
        with self._database.reading() as connection:
            [value] = connection.execute("SELECT value FROM policy WHERE name = 'count'").fetchone()
        (self._folder / f"{self._worker}.read").write_text(value)
        while (self._folder / f"hold-{self._worker}").exists():
            time.sleep(0.01)
        with self._database.writing("") as connection:
            connection.execute("UPDATE policy SET value = ? WHERE name = 'count'", (str(int(value) + 1),))
        with (self._folder / f"{self._worker}.written").open("a") as file:
            file.write(f"{value}\n")
        time.sleep(0.02)
        return f"counted to {int(value) + 1}"


def main() -> None:
    """Work until SIGTERM."""
    url, folder, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    logging.basicConfig(level=logging.INFO)
    with stoppable() as stop:
        Worker(Database(url), lambda database: [Counting(database, folder, name)], name).run(stop)


if __name__ == "__main__":
    main()
