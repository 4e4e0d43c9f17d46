"""What the core and the services need of the outside, as protocols. Adapters implement them; wiring chooses.

Only shapes live here: no behaviour, no defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from .diagnosis import BoardFigures
from .link import Links
from .model import Draft, Reading, Resume, Row, Scale
from .showing import MeterState, ServiceState

if TYPE_CHECKING:
    # At run time this brings half of `email` into the reader, which never sees an answer: nearly a megabyte.
    from .outcome import Answer, NoAnswer


class Clock(Protocol):
    """Time: monotonic for durations and order (CLOCK_BOOTTIME), wall for people and the wire."""

    def mono_ns(self) -> int: ...

    def wall_ns(self) -> int: ...

    def quality(self) -> str:
        """ntp, rtc, restored or unset."""
        ...


class Watchdog(Protocol):
    """The supervisor, told what the service does. Petted after work that was done, never from a helper thread."""

    def ready(self) -> None: ...

    def pet(self) -> None: ...

    def status(self, text: str) -> None: ...

    def stopping(self) -> None: ...


class InFlight(Protocol):
    """A request under way."""

    def wait(self, timeout_s: float) -> Answer | NoAnswer | None:
        """The answer, or None while there is none yet."""
        ...


class Courier(Protocol):
    """Sends one request at a time and never blocks its caller."""

    def post(self, target: str, headers: dict[str, str], body: bytes) -> InFlight: ...

    def get(self, target: str, headers: dict[str, str]) -> InFlight: ...

    def abandon(self) -> None:
        """Forget the request under way and its connection."""
        ...


class SideLane(Protocol):
    """Something else that sync says to the cloud, beside telemetry: its own courier, its own waits.

    No lane is delayed by another: `step` never waits.
    """

    next_due_s: float
    """When it next wants to send; monotonic seconds. Sync makes it earlier when a link comes up."""

    def step(self) -> None:
        """Send what is due, or take an answer if one is there. Raises Fenced, LogError."""
        ...

    def finish(self, within_s: float) -> None:
        """Last words before stopping, at most so long; 0 where the cloud cannot be reached."""
        ...


class LinkWatch(Protocol):
    """The machine's network links."""

    def look(self) -> Links: ...


class MeterLine(Protocol):
    """A meter at the end of a line that may go away."""

    def open(self) -> None:
        """Raises StationError where it cannot be opened."""
        ...

    def poll(self) -> Reading:
        """Ask once. Raises BadFrame or NoAnswer for a lost poll, LinkDown where the line is gone."""
        ...

    def rescale(self, scale: Scale) -> None:
        """Another price per count, for flow figures that follow from it."""
        ...

    def close(self) -> None: ...


class EventLog(Protocol):
    """The reader's side of the log."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def resume(self, meter_id: str) -> Resume | None: ...

    def append(self, drafts: Sequence[Draft]) -> list[Row]: ...

    def has_change(self, change_token: str) -> bool:
        """Whether a stream that bears this token is committed. Raises LogError."""
        ...

    def settle(self) -> int:
        """How many drafts of an append that failed are in the log after all. Raises StationError where unknown."""
        ...


class BoardGauges(Protocol):
    """The board's own sensors."""

    def look(self) -> BoardFigures:
        """What they show now. Never waits, never raises: a sensor that fails shows None."""
        ...

    def close(self) -> None: ...


class DegradedReasons(Protocol):
    """Where reasons for which the station is degraded are held."""

    @property
    def active(self) -> frozenset[str]: ...

    def set(self, reason: str) -> None: ...

    def clear(self, reason: str) -> None: ...


class LiveDisplay(Protocol):
    """Where a service shows what it does; False where that could not be written, and `fault` says why."""

    @property
    def fault(self) -> str: ...

    def show(self, table: str, state: ServiceState, meters: list[MeterState] | None = None) -> bool: ...


class Chronicle(Protocol):
    """Where changes are told, for people who look later. Never waits, never raises."""

    def say(self, priority: int, message: str, fields: Mapping[str, object]) -> None: ...
