"""One site of real processes and one browser for the tests of this folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.specs import MeterSpec
from tests.browser.browser import Browser
from tests.integration.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A whole site with a tap that pours now and then, its network in the test's hand."""
    world = World(tmp_path / "site", meters=(MeterSpec(pattern="steady", flow_l_min=8.0),))
    try:
        world.start()
        yield world
    finally:
        world.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


@pytest.fixture
def make_link(world: World) -> Callable[[], str]:
    """A fresh one-time sign-in link, as `make run` prints it."""
    site = world.site
    return lambda: str(json.loads(site.cloud("sign-in-link", "--base-url", site.url, "--json"))["url"])


@pytest.fixture
def pictures() -> Path | None:
    """Where screenshots go, when they are wanted."""
    wanted = os.environ.get("AQUASMART_SCREENSHOTS")
    if not wanted:
        return None
    folder = Path(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
