"""The keys a station may sign with, the preferred one first (docs/protocol.md §7, rotation).

Pure: nothing is read, written or compared here. Every lane signs with `current` and remembers, with the request in
flight, which identity signed it: an answer is verified with the key of its request, whatever was swapped meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from .conversation import Identity


class KeyRing:
    """The identities of one station, newest usable first."""

    def __init__(self, identities: Sequence[Identity]) -> None:
        """Raises ValueError without any: a station that cannot sign has nothing to say."""
        if not identities:
            raise ValueError("a station needs at least one key")
        self._ring = list(identities)

    @property
    def current(self) -> Identity:
        """Whom to sign as."""
        return self._ring[0]

    @property
    def other(self) -> Identity | None:
        """Whom to try where the current key is not accepted; None where there is only one key."""
        return self._ring[1] if len(self._ring) > 1 else None

    def use_other(self) -> None:
        """Prefer the next key; the present one goes last. With several, each has its turn: a cloud that was restored
        from a backup may know only the oldest."""
        self._ring.append(self._ring.pop(0))

    def add(self, identity: Identity) -> None:
        """A new key, preferred from now on. One of the same id is replaced; the others stay."""
        self._ring = [identity, *(each for each in self._ring if each.key_id != identity.key_id)]

    @property
    def key_ids(self) -> list[str]:
        """The ids of all keys, the preferred one first."""
        return [each.key_id for each in self._ring]

    def of_id(self, key_id: str) -> Identity | None:
        """The identity with this key id."""
        return next((each for each in self._ring if each.key_id == key_id), None)
