"""The key that follows another (docs/protocol.md §7): both sides against one vector, and what must change it."""

from __future__ import annotations

from aquasmart_cloud.core import signing as cloud
from aquasmart_station.core import signing as station

OLD = bytes(range(32))
CLOUD_NONCE, STATION_NONCE = "11" * 32, "22" * 32
NEW = "8ef0ab844304db104bbb97515adb0e716c66d8667aea263d7bf6d1b612da97f5"


def test_both_sides_derive_the_vectors_key() -> None:
    for side in (station, cloud):
        assert side.derived_key(OLD, CLOUD_NONCE, STATION_NONCE).hex() == NEW


def test_each_part_changes_the_key() -> None:
    for parts in (
        (bytes(32), CLOUD_NONCE, STATION_NONCE),
        (OLD, STATION_NONCE, CLOUD_NONCE),
        (OLD, CLOUD_NONCE, CLOUD_NONCE),
        (OLD, CLOUD_NONCE + ":", STATION_NONCE),
    ):
        found = {side.derived_key(*parts).hex() for side in (station, cloud)}
        assert len(found) == 1
        assert NEW not in found
