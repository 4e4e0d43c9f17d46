"""Every test that asks for a cloud here runs once on each store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from aquasmart_cloud.cli import main
from tests.fakes.postgres import Postgres
from tests.integration.cloud.senders import MASTER_KEY, CloudUnderTest, Sender
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


@pytest.fixture
def command(
    cloud: CloudUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs `aquasmart-cloud …` on the cloud's database: status, output, errors."""
    for name, text in (("master.key", MASTER_KEY.hex()), ("admin.token", "correct-horse-battery-staple")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("AQUASMART_MASTER_KEY_FILE", str(tmp_path / "master.key"))
    monkeypatch.setenv("AQUASMART_DATABASE_URL", cloud.database.url)

    def run(*words: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, words)
        return done.exit_code, done.stdout, done.stderr

    return run
