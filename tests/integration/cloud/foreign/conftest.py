"""One served cloud of each store for a whole file of tests, each with clients of its own; tests that kill it make their
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.integration.cloud.foreign.gunicorn import ClientOf, Served, served_on
from tests.integration.store.stores import STORES, Store

NUMBERS = count()


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    return Store(request.param, lambda: request.getfixturevalue("postgres"))


@pytest.fixture(scope="module")
def served(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_on(store, tmp_path_factory.mktemp("served") / "cloud") as running:
        yield running


@pytest.fixture
def make_client(served: Served, request: pytest.FixtureRequest) -> Callable[..., ClientOf]:
    """Makes clients named after the test, so that tests of one cloud never meet."""
    return lambda **settings: served.client(f"{request.node.name[:40]} {next(NUMBERS)}", **settings)


@pytest.fixture
def client(make_client: Callable[..., ClientOf]) -> ClientOf:
    return make_client()
