"""A fresh site for each end-to-end test; what its processes said last is shown when the test fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.site import Site
from tests.fakes import nursery
from tests.integration.world import World

pytest.register_assert_rewrite("tests.integration.balance", "tests.integration.outpost")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed:
        for world in item.stash.get(WORLDS, []):
            report.sections.append(("processes", world.tails()))
    return report


WORLDS = pytest.StashKey[list[World]]()


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site provisioned once by the real commands; each test's site begins as a copy."""
    site = Site(tmp_path_factory.mktemp("provisioned") / "site", cloud_port=1, launcher=nursery.shared())
    site.provision()
    return site.root


@pytest.fixture
def make_world(tmp_path: Path, request: pytest.FixtureRequest, provisioned: Path) -> Iterator[Callable[..., World]]:
    """Makes sites under the test's folder; ends every process afterwards."""
    worlds = request.node.stash.setdefault(WORLDS, [])

    def make(**settings: Any) -> World:
        world = World(tmp_path / f"site-{len(worlds)}", template=provisioned, **settings)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.close()
