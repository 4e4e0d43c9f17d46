"""One served cloud for a whole file of tests, each with clients of its own; tests that kill it make their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.integration.cloud.foreign.gunicorn import ClientOf, Served

NUMBERS = count()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served") / "cloud") as running:
        yield running


@pytest.fixture
def make_client(served: Served, request: pytest.FixtureRequest) -> Callable[..., ClientOf]:
    """Makes clients named after the test, so that tests of one cloud never meet."""
    return lambda **settings: served.client(f"{request.node.name[:40]} {next(NUMBERS)}", **settings)


@pytest.fixture
def client(make_client: Callable[..., ClientOf]) -> ClientOf:
    return make_client()
