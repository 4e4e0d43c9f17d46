"""Spreading a database over nodes: the plan of every table, and what is refused. With a Citus of your own, the rest.

`AQUASMART_TEST_CITUS_URL` names an empty database on a coordinator; without it nothing here has met Citus.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.store import bulk, distributing, migrating
from aquasmart_cloud.store.auditing import verify_station
from aquasmart_cloud.store.database import Database
from tests.integration.cloud.senders import CloudUnderTest, Run
from tests.integration.cloud.test_schema import FIXED
from tests.integration.store.conftest import BASE

Run_ = Callable[..., tuple[int, str, str]]
CITUS = os.environ.get("AQUASMART_TEST_CITUS_URL", "")


def test_every_table_is_spread_by_its_owner_or_is_small() -> None:
    found = distributing.plan()
    assert set(found.everywhere) == FIXED
    assert set(found.spread) | set(found.everywhere) == {table.name for table in bulk.tables()}
    assert next(iter(found.spread)) == "station"
    for table in bulk.tables():
        if table.name in found.spread:
            by = table.columns[found.spread[table.name]]
            assert all(by.name in {column.name for column in index.columns} for index in table.indexes if index.unique)
            assert str(by.type) == "VARCHAR(64)", "kept together means: of one type"


def test_what_cannot_be_distributed_is_said(
    cloud: CloudUnderTest, command: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = command("db", "distribute")
    assert code == 1
    assert ("cannot be distributed" if cloud.database.kind == "sqlite" else "has no Citus extension") in err
    assert "Traceback" not in err


def test_an_empty_database_is_told_to_upgrade(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(DatabaseError):
        distributing.distribute(database)


@pytest.mark.skipif(not CITUS, reason="AQUASMART_TEST_CITUS_URL is not set")
def test_a_distributed_cloud_keeps_its_books(tmp_path: Path) -> None:
    database = Database(CITUS)
    migrating.upgrade(database)
    before = CloudUnderTest(tmp_path, CITUS)
    sender = before.station("spread-1")
    run = Run(BASE)
    sender.take(run.batch([1, 2, 3]))
    assert distributing.distribute(database)
    assert distributing.distribute(database) == []
    for _ in range(5):
        sender.take(run.batch([3, 3, 1]))
    before.assert_books_balance()
    assert verify_station(database, before.stations, "spread-1").findings == ()
    before.close()
    database.close()
