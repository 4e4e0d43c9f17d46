"""The package's errors: one small tree, each with a hint for the person who reads it.

Only exception classes live here. What a sender is told of a refused request is `core.problems`.
"""

from __future__ import annotations


class CloudError(Exception):
    """Base of every error that this package raises on purpose. `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class DatabaseError(CloudError):
    """The database cannot be used now: unreachable, full, busy, or not migrated. Nothing was stored."""


class ConfigError(CloudError):
    """The configuration is unusable. `faults` names everything that is wrong with it, all at once."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("the configuration is unusable:\n" + "\n".join(f"  - {fault}" for fault in faults))
        self.faults = faults


class SealError(CloudError):
    """A stored key does not open with this master key."""


class StationError(CloudError):
    """A command about a station cannot be done: unknown, already there, of a wrong form."""


class ClientError(CloudError):
    """A command about a client of the intake cannot be done: unknown, already there, an impossible setting."""


class LeaseLost(CloudError):
    """The lease that this work was done under is another's now. Nothing was stored; whoever holds it does the work."""


class WorkStopped(CloudError):
    """The worker was asked to stop: no further transaction is begun. Nothing of the next one was stored."""
