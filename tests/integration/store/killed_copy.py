"""A copy that ends itself by SIGKILL: `python -m tests.integration.store.killed_copy SOURCE TARGET AT`.

Boundaries are every statement and every commit of either database, counted from the first; at number AT it kills
itself. Portions are of two rows, so that there are many. Exit status 0: it came to its end before that.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from sqlalchemy import Engine, event

from aquasmart_cloud.store import bulk
from aquasmart_cloud.store.copying import copy_database
from aquasmart_cloud.store.database import Database
from tests.integration.cloud.senders import NOW_MS


def main() -> None:
    source, target, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
    passed = 0

    def reach(*_: Any) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)

    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(Engine, moment, reach)
    bulk.PORTION_ROWS = 2
    copy_database(Database(source), Database(target), NOW_MS)


if __name__ == "__main__":
    main()
