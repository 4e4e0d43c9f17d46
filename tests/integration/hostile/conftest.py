"""One cloud for this folder's stations; what their processes said last is shown when a test fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.outpost import House, Outpost

OUTPOSTS = pytest.StashKey[list[Outpost]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed:
        for outpost in item.stash.get(OUTPOSTS, []):
            report.sections.append(("station", outpost.tails()))
    return report


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, provisioned: Path) -> Iterator[House]:
    """A cloud that many tests share, each with stations of its own."""
    house = House(tmp_path_factory.mktemp("house") / "site", template=provisioned)
    yield house
    house.close()


@pytest.fixture
def own_house(tmp_path: Path, provisioned: Path) -> Iterator[House]:
    """A cloud for a test that does something to it."""
    house = House(tmp_path / "house", template=provisioned)
    yield house
    house.close()


@pytest.fixture
def make_outpost(tmp_path: Path, request: pytest.FixtureRequest, house: House) -> Iterator[Callable[..., Outpost]]:
    """Makes stations at the shared cloud, or at `at`; ends their processes afterwards."""
    outposts = request.node.stash.setdefault(OUTPOSTS, [])

    def make(at: House | None = None, **settings: Any) -> Outpost:
        outpost = (at or house).station(tmp_path / f"outpost-{len(outposts)}", **settings)
        outposts.append(outpost)
        return outpost

    yield make
    for outpost in outposts:
        outpost.close()
