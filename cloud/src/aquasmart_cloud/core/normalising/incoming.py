"""One event of a request, judged before any transaction: what came, what it means, by what it will be known.

Pure. Whatever the normaliser itself gets wrong is caught here: the event is then kept as it came, and read again
by a later version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aquasmart_cloud.core.identity import content_identity, id_identity, raw_identity
from aquasmart_cloud.core.problems import Fault

from .event import CURRENT, Normalised, Normaliser, Rejected
from .reading import canonical
from .rules import Rules

INVALID = "invalid"
ID_CONFLICT = "id-conflict"
NOT_NORMALISED = "not-normalised"


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event as the intake transaction takes it. `raw` is its canonical JSON text, `version` the normaliser's."""

    raw: str
    outcome: Normalised | Rejected
    code: str
    """'' for one that was read, else why it was not."""
    version: int
    raw_hash: bytes
    id_hash: bytes | None = None
    content_hash: bytes | None = None
    mistake: Exception | None = field(default=None, compare=False, repr=False)
    """What the normaliser itself raised, for the log (services.mistakes); the sender is not told."""

    @property
    def event_id(self) -> str:
        """How a read event is called: its sender's id, else the hash of its content."""
        given_id = self.outcome.given_id if isinstance(self.outcome, Normalised) else None
        return given_id or (self.content_hash or self.raw_hash).hex()


def incoming(event: Any, rules: Rules, normaliser: Normaliser = CURRENT) -> Incoming:
    """Judge one event. Never raises for what was sent, nor for a mistake of the normaliser."""
    raw, raw_hash = canonical(event).decode(), raw_identity(event)
    try:
        outcome = normaliser.read(event, rules)
    except Exception as mistake:  # noqa: BLE001  (a mistake of ours must not cost the sender its event)
        fault = Fault("$", "this version cannot read it; it is kept, and read again by a later one")
        return Incoming(raw, Rejected((fault,)), NOT_NORMALISED, normaliser.version, raw_hash, mistake=mistake)
    if isinstance(outcome, Rejected):
        return Incoming(raw, outcome, INVALID, normaliser.version, raw_hash)
    id_hash = None if outcome.given_id is None else id_identity(outcome.given_id)
    return Incoming(raw, outcome, "", normaliser.version, raw_hash, id_hash, content_identity(outcome))
