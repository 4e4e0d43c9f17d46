"""Every test that asks for a cloud here runs once on each store, on a fresh database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cloud.senders import CloudUnderTest, Sender
from tests.integration.store.stores import STORES, Store


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    return Store(request.param, lambda: request.getfixturevalue("postgres"))


@pytest.fixture
def cloud(store: Store, tmp_path: Path) -> Iterator[CloudUnderTest]:
    with store.cloud(tmp_path) as made:
        yield made


@pytest.fixture
def sender(cloud: CloudUnderTest) -> Sender:
    return cloud.station()
