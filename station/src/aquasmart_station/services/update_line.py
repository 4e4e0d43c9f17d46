"""The update agent's way to the cloud: one question at a time, the offer or a piece of the bundle, and its waits.

It knows how a link is treated (backoff, holds, pieces as large as come within seconds, a metered allowance), and that
an answer counts only if it is signed. What an offer means, and what is done with a piece, is the agent's.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.outcome import Delivered, Hold, Outcome, Refused, Retry, Unverified
from ..core.pacing import Pace
from ..core.ports import Clock
from ..core.token_bucket import TokenBucket
from .exchange import Asked, Exchange

UPDATE = "/v1/update"
BUNDLES = "/v1/bundles/"
LEAST_PIECE, FIRST_PIECE, MOST_PIECE = 8 << 10, 64 << 10, 1 << 20
"""Bytes. The cloud signs pieces up to the last; a link of 8 kbit/s brings the first within a request's time."""
GOOD_PIECE_S = 5.0
"""A piece that came within this is followed by a larger one."""
_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class OfferSaid:
    """The cloud's verified answer to what is offered, as it was on the wire."""

    update: object


@dataclass(frozen=True, slots=True)
class Piece:
    """A verified piece. The headers that place it are not signed: the whole file's SHA-256 decides in the end."""

    begin: int
    size_bytes: int
    """Of the whole bundle."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Nothing:
    """No answer that counts. `not_ours`: the cloud, signed, gives this bundle to this station no more."""

    not_ours: bool = False


Said = OfferSaid | Piece | Nothing


class UpdateLine:
    """Used by one thread. `exchange` makes one with the station's present keys; `allowance`: a metered link's bytes."""

    def __init__(
        self, *, exchange: Callable[[], Exchange], clock: Clock, draw: Callable[[], float], allowance: TokenBucket
    ) -> None:
        self._make_exchange, self._clock, self._draw, self._allowance = exchange, clock, draw, allowance
        self._exchange: Exchange | None = None
        self._asked: Asked | None = None
        self._asked_s = 0.0
        self._piece = FIRST_PIECE
        self.pace = Pace()
        self.text = ""
        """What is wrong with the way to the cloud, in words; empty where nothing is."""

    @property
    def under_way(self) -> bool:
        return self._asked is not None

    def wait_s(self) -> float:
        """Seconds until a piece may be asked for."""
        now_s = self._mono_s()
        return max(0.0, self._allowance.wait_s(now_s), self.pace.not_before_s - now_s)

    def ask_offer(self) -> None:
        """Ask what is offered."""
        self._ask(Asked(UPDATE, b"", secrets.token_hex(16), method="GET"))

    def ask_piece(self, sha256: str, offset: int, size_bytes: int) -> None:
        """Ask for what follows after so many bytes."""
        last = min(offset + self._piece, size_bytes) - 1
        headers = {"Range": f"bytes={offset}-{last}", "If-Range": f'"{sha256}"'}
        trace_id = secrets.token_hex(16)
        self._ask(Asked(f"{BUNDLES}{sha256}", b"", trace_id, method="GET", headers=headers, as_bytes=True))

    def take(self, wait_s: float) -> Said | None:
        """The answer, waited for so long; None while there is none."""
        if self._exchange is None or self._asked is None:
            return Nothing()
        outcome = self._exchange.outcome(wait_s)
        if outcome is None:
            return None
        asked, self._asked = self._asked, None
        if isinstance(outcome, Delivered):
            self.pace.succeeded()
            self.text = ""
            return OfferSaid(outcome.data.get("update")) if asked.target == UPDATE else self._placed(outcome.data)
        return self._failed(asked, outcome)

    def failed(self) -> None:
        """What came is of no use: ask again, but not at once."""
        self.pace.failed(self._mono_s(), self._draw())

    def _ask(self, asked: Asked) -> None:
        if self._exchange is None:
            self._exchange = self._make_exchange()
        self._exchange.ask(asked)
        self._asked, self._asked_s = asked, self._mono_s()

    def _placed(self, data: Mapping[str, Any]) -> Said:
        body, match = data["body"], _RANGE.fullmatch(str(data["content_range"]))
        begin, end, size = (int(each) for each in match.groups()) if match else (0, 0, 0)
        if match is None or not body or end - begin + 1 != len(body):
            self.failed()
            return Nothing()
        self._allowance.spend(len(body), self._mono_s())
        if self._mono_s() - self._asked_s < GOOD_PIECE_S:
            self._piece = min(MOST_PIECE, self._piece * 2)
        return Piece(begin, size, body)

    def _failed(self, asked: Asked, outcome: Outcome) -> Nothing:
        now_s, draw = self._mono_s(), self._draw()
        not_ours = isinstance(outcome, Refused) and asked.target != UPDATE
        match outcome:
            case Retry():
                self.pace.failed(now_s, draw, after_s=outcome.after_s, verified=outcome.verified)
                self.text = f"the cloud cannot be asked: {outcome.reason}"
            case Unverified():
                self.pace.unverified(now_s, draw)
                self.text = f"unverified: {outcome.text}"
            case Hold() | Refused() if not not_ours:
                self.pace.held(now_s, draw)
                self.text = f"the cloud says {outcome.code}: {outcome.detail}"
            case _:
                self.pace.failed(now_s, draw)
        if asked.target != UPDATE:
            self._piece = max(LEAST_PIECE, self._piece // 2)
        if self._exchange is not None:
            self._exchange.abandon()
            self._exchange = None  # sync may have agreed upon another key meanwhile
        return Nothing(not_ours)

    def _mono_s(self) -> float:
        return self._clock.mono_ns() / 1e9
