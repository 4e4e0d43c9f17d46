"""The doctor with this station's identity and its way to the cloud."""

from __future__ import annotations

from collections.abc import Iterator

from .. import __version__
from ..config import Config
from ..core.conversation import Identity
from ..services.doctor import Finding, examine
from ..services.reaching import reach
from .reaching import http_settings


def findings(config: Config, *, offline: bool) -> Iterator[Finding]:
    """One after the other, as they are found: the network's may take their time."""
    identity = Identity(config.station_id, config.cloud.key_id, __version__, config.cloud.key)
    yield from examine(config, None if offline else lambda: reach(http_settings(config.cloud), identity))
