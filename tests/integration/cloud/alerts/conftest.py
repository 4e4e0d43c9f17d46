"""A watchful cloud on each store."""

from __future__ import annotations

import pytest

from tests.integration.cloud.alerts.scenes import Watchful
from tests.integration.cloud.senders import CloudUnderTest


@pytest.fixture
def watchful(cloud: CloudUnderTest) -> Watchful:
    return Watchful(cloud)
