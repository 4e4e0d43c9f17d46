"""The databases that every store test runs on: a fresh one of each kind, by URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.postgres import Postgres
from tests.integration.cloud.senders import CloudUnderTest

SQLITE = pytest.param("sqlite", id="sqlite")
POSTGRESQL = pytest.param("postgresql", id="postgresql", marks=pytest.mark.needs("postgresql"))
STORES = [SQLITE, POSTGRESQL]


class Store:
    """One kind of database, of which a test may have as many fresh ones as it likes."""

    def __init__(self, kind: str, server: Callable[[], Postgres]) -> None:
        self.kind = kind
        self._server = server

    @property
    def server(self) -> Postgres:
        return self._server()

    @contextmanager
    def cloud(self, folder: Path) -> Iterator[CloudUnderTest]:
        """A cloud on a fresh database, gone afterwards."""
        if self.kind == "sqlite":
            made = CloudUnderTest(folder)
            yield made
            made.close()
            return
        name = self.server.fresh()
        made = CloudUnderTest(folder, self.server.url(name))
        try:
            yield made
        finally:
            made.close()
            self.server.drop(name)
