"""The ring of keys: what is preferred, and that each key has its turn."""

from __future__ import annotations

import pytest

from aquasmart_station.core.conversation import Identity
from aquasmart_station.core.keyring import KeyRing


def identity(key_id: str, byte: int = 1) -> Identity:
    return Identity("demo-1", key_id, "0.1.0", bytes([byte]) * 32)


def test_without_a_key_there_is_nobody_to_speak_as() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        KeyRing([])


def test_a_single_key_has_no_other_and_stays() -> None:
    ring = KeyRing([identity("k1")])
    ring.use_other()
    assert (ring.current.key_id, ring.other) == ("k1", None)


def test_each_key_has_its_turn() -> None:
    ring = KeyRing([identity("k3"), identity("k2"), identity("k1")])
    seen = []
    for _ in range(4):
        seen.append(ring.current.key_id)
        ring.use_other()
    assert seen == ["k3", "k2", "k1", "k3"]


def test_a_new_key_is_preferred_and_the_old_one_stays() -> None:
    ring = KeyRing([identity("k1")])
    ring.add(identity("k2", 2))
    assert ring.key_ids == ["k2", "k1"]
    assert ring.other is not None
    assert ring.other.key_id == "k1"
    ring.add(identity("k2", 3))
    assert ring.key_ids == ["k2", "k1"]
    assert ring.current.key == bytes([3]) * 32


def test_a_key_is_found_by_its_id_and_never_shown() -> None:
    ring = KeyRing([identity("k2", 2), identity("k1")])
    found = ring.of_id("k1")
    assert found is not None
    assert found.key_id == "k1"
    assert ring.of_id("k9") is None
    assert "01" * 32 not in repr(found)
    assert "\\x01" not in repr(found)
