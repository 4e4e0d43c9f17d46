"""What an account shows of itself: figures and words for people and for the live page. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from .model import StreamHeader

WAITING, OK, SUSPECT, FROZEN = "waiting", "ok", "suspect", "frozen"


@dataclass(frozen=True, slots=True)
class AccountView:
    """One meter's account at an instant. `state` is one of the four words above, `reason` says why it is not ok."""

    state: str
    reason: str
    epoch: UUID | None
    epoch_from: int | None
    counts: int | None
    """Booked: the position that rows have reached, unwrapped in its epoch."""
    raw_counts: int | None
    """The register at the last reading, as the meter shows it."""
    reverse_debt_counts: int
    """Counts that ran backwards and must run forwards again before anything is booked."""
    unbooked_counts: int
    """Counts that the meter shows above `counts` and that are not believed yet."""
    run_volume_ul: int | None
    """Volume booked since this account began; None before the first accepted reading."""
    header: StreamHeader | None
    """The stream that is written at present, None before its first row."""
    identity: str | None = None
    """The serial number of the meter whose books these are, where it has one."""
    found_identity: str | None = None
    """The other meter that answers on a frozen port."""
    found_counts: int | None = None
    """Its register when it was first seen."""
