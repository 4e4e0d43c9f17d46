"""A fresh cloud on its own database file for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cloud.senders import CloudUnderTest, Sender


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudUnderTest]:
    made = CloudUnderTest(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sender(cloud: CloudUnderTest) -> Sender:
    return cloud.station()
