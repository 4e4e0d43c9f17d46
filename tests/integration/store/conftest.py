"""Every test that asks for a cloud here runs once on each store."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from aquasmart_cloud.cli import main
from aquasmart_cloud.store.database import Database
from tests.contract.messages import meterless_header
from tests.fakes.postgres import Postgres
from tests.integration.cloud.senders import MASTER_KEY, NOW_MS, CloudUnderTest, Run, Sender
from tests.integration.store.stores import STORES, Store

BASE = 1_000_000
STRONG = {"identity": {"kind": "strong", "value": "SN 4711"}}
SECOND_EPOCH = "6d1d6a0e-5c1f-4f7e-8a37-0f1be1a3c0aa"


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
def elsewhere(store: Store, postgres: Postgres, tmp_path: Path) -> Iterator[Database]:
    """An empty database of the other kind."""
    if store.kind == "postgresql":
        (tmp_path / "moved").mkdir()
        database = Database(f"sqlite:///{tmp_path}/moved/cloud.db")
        yield database
        database.close()
        return
    name = postgres.fresh(empty=True)
    database = Database(postgres.url(name))
    yield database
    database.close()
    postgres.drop(name)


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


@pytest.fixture
def filled(cloud: CloudUnderTest, sender: Sender) -> CloudUnderTest:
    """A station with everything that makes books difficult: overlap, hole, alias, catch-up, repeats, two scales."""
    chance = random.Random(5)
    first = Run(BASE, **STRONG)
    batches = [first.batch([chance.randrange(9) for _ in range(6)]) for _ in range(4)]
    for batch in batches:
        sender.take(batch, packed=chance.random() < 0.5)
    sender.take(batches[0] | {"counts": [*batches[0]["counts"][:5], 99]})
    straddling = first.batch([1, 1]) | {"first_seq": first.seq - 5, "counts": [1, 1, 1, 1, 1], "dt": [0] + [100] * 4}
    sender.send(straddling)
    late = Run(BASE + 5, at=NOW_MS - 20_000, scale={"ul_num": 2_500, "den": 1}, **STRONG)
    sender.take(late.batch([300, 2], rows=[{"row": 0, "kind": "catch_up"}]))
    fresh = Run(BASE + 900, epoch=SECOND_EPOCH, epoch_from=BASE + 900, **STRONG)
    sender.take(fresh.batch([0, 7], rows=[{"row": 0, "kind": "baseline"}]))
    sender.take(Run(BASE + 500).batch([40, 900, 1], rows=[{"row": 1, "kind": "disputed"}]))
    boot = {"stream": meterless_header(), "counts_before": 0, "rows": [{"row": 0, "kind": "boot", "data": {}}]}
    sender.take(Run(0).batch([0, 0], **boot))
    cloud.assert_books_balance()
    return cloud
