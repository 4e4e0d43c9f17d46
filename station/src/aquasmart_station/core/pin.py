"""The technician's PIN: how it is kept, compared, and how guessing is slowed down. Pure; nothing is stored here.

A PIN is short, so it is the waiting that protects it: after three wrong ones each further try waits twice as long, from
ten seconds to an hour, for everybody at once. A guesser has then fewer than thirty tries a day, of a million.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from .phrases import Phrase
from .signing import same

FORM = re.compile(r"[0-9]{6,12}")
FREE_TRIES = 3
FIRST_WAIT_S, LONGEST_WAIT_S = 10, 3_600
FORGOTTEN_AFTER_S = 86_400
"""So long after the last wrong one, the count begins anew."""

_COST = {"n": 1 << 14, "r": 8, "p": 1}
"""16 MiB and about a tenth of a second of a Pi for each try (RFC 7914)."""


def keep(pin: str, salt: bytes) -> str:
    """What is stored of a PIN: `scrypt$SALT$HASH` in hexadecimal. `salt`: 16 random bytes. Raises ValueError."""
    if not FORM.fullmatch(pin):
        raise ValueError(Phrase("a PIN is 6 to 12 digits"))
    return f"scrypt${salt.hex()}${_hash(pin, salt).hex()}"


def matches(pin: str, kept: str) -> bool:
    """Whether this is the PIN, in constant time once it is hashed; False for anything that is not kept as ours."""
    scheme, _, rest = kept.strip().partition("$")
    salt_text, _, expected = rest.partition("$")
    if scheme != "scrypt" or not FORM.fullmatch(pin):
        return False
    try:
        salt = bytes.fromhex(salt_text)
    except ValueError:
        return False
    return same(_hash(pin, salt).hex(), expected)


def _hash(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode("ascii"), salt=salt, dklen=32, **_COST)


@dataclass(frozen=True, slots=True)
class Tries:
    """Wrong tries so far, and when the last one was (monotonic seconds)."""

    wrong: int = 0
    last_s: int = 0

    def wait_s(self, now_s: int) -> int:
        """How long nobody may try; 0: now. A clock before the last try has begun anew: the wait is whole."""
        if self.wrong < FREE_TRIES:
            return 0
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S << min(self.wrong - FREE_TRIES, 20))
        return max(0, wait - max(0, now_s - self.last_s))

    def one_more(self, now_s: int) -> Tries:
        """Counted before the PIN is compared: whoever interrupts that has had the try all the same."""
        fresh = now_s - self.last_s > FORGOTTEN_AFTER_S
        return Tries(1 if fresh else self.wrong + 1, now_s)
