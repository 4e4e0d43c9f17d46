"""Every test that asks for a cloud here runs once on each store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.postgres import Postgres
from tests.integration.cloud.senders import CloudUnderTest, Sender
from tests.integration.store.stores import STORES, Store


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    def server() -> Postgres:
        found: Postgres = request.getfixturevalue("postgres")
        return found

    return Store(request.param, server)


@pytest.fixture
def cloud(store: Store, tmp_path: Path) -> Iterator[CloudUnderTest]:
    with store.cloud(tmp_path) as made:
        yield made


@pytest.fixture
def sender(cloud: CloudUnderTest) -> Sender:
    return cloud.station()
