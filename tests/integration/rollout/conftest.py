"""One cloud for this folder's stations; what their processes said last is shown when a test fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.outpost import House, forked
from tests.integration.rollout.scenes import IDLE, UPDATE, Board, Fleet
from tests.integration.world import merged

BOARDS = pytest.StashKey[list[Board]]()
_made = iter(range(1, 1_000))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed:
        for board in item.stash.get(BOARDS, []):
            report.sections.append(("station", f"{board.progress()}\n{board.tails()}"))
    return report


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, provisioned: Path) -> Iterator[House]:
    """A cloud that these tests share, each with stations and groups of its own."""
    house = House(tmp_path_factory.mktemp("rollouts") / "site", template=provisioned)
    yield house
    house.close()


@pytest.fixture
def fleet(house: House, tmp_path: Path) -> Fleet:
    return Fleet(house, tmp_path)


@pytest.fixture
def make_board(tmp_path: Path, request: pytest.FixtureRequest, house: House) -> Iterator[Callable[..., Board]]:
    """Makes stations in a group of this test's own; ends their processes afterwards."""
    boards = request.node.stash.setdefault(BOARDS, [])

    def make(group: str, *, update: dict[str, Any] | None = None, **settings: Any) -> Board:
        key = house.stations.add(f"board-{next(_made)}", "", time.time_ns() // 1_000_000)
        overrides = merged({"update": UPDATE | (update or {})}, settings.pop("overrides", {}))
        root = tmp_path / f"board-{len(boards)}"
        settings = {"meter": IDLE, **settings}
        board = Board(house, root, key.station_id, (key.key_id, key.key), forked, overrides=overrides, **settings)
        boards.append(board)
        board.prepare(group)
        return board

    yield make
    for board in boards:
        board.close()
