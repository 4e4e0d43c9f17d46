"""Failed events again: one that somebody edited, or all that a newer normaliser may now be able to read.

By hand, or by the worker (services.retrying): whatever is open and was last tried by an older version.
Harmless when run twice or by two at once: each failure is judged again under its sender's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from aquasmart_cloud.core.normalising.event import CURRENT, Normaliser
from aquasmart_cloud.core.normalising.incoming import Incoming, incoming
from aquasmart_cloud.core.normalising.reading import read_json
from aquasmart_cloud.core.normalising.rules import Rules
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store import failures, foreign_queries, intake
from aquasmart_cloud.store.clients import Clients
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.failures import Failed
from aquasmart_cloud.store.intake_log import Occasion

from . import mistakes

_PAGE = 200
_ANY_VERSION = 1 << 31


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """How many failures were tried again, and what they became; how many known events were looked at anew."""

    tried: int = 0
    processed: int = 0
    duplicates: int = 0
    failed: int = 0
    known_again: int = 0


class Place(NamedTuple):
    """How far one sender has been gone through: its failures first, then its events, each by number."""

    failed_seq: int = 0
    failures_done: bool = False
    event_seq: int = 0


@dataclass(frozen=True, slots=True)
class Reprocessing:
    """What trying again needs. `normaliser` is this software's; tests pass others."""

    database: Database
    clients: Clients
    normaliser: Normaliser = CURRENT

    def one(self, place: tuple[str, int], occasion: Occasion, edited: Any = None) -> intake.Result:
        """Try one open failure again, as it is or as somebody edited it.

        Errors: Refusal not-found or already-closed, ClientError, DatabaseError.
        """
        rules = self.clients.rules(place[0])
        if edited is None:
            return intake.retry(self.database, place, self._judge(rules, occasion), occasion)
        came = incoming(edited, rules, self.normaliser)
        mistakes.report([came], occasion.trace_id)
        return intake.retry(self.database, place, lambda _: came, occasion, came.raw)

    def all(self, occasion: Occasion, client_id: str | None = None, *, everything: bool = False) -> Reprocessed:
        """Try what an older version could not read; `everything` tries every open failure, say after a new mapping.

        Errors: ClientError, DatabaseError.
        """
        total = Reprocessed()
        for sender in [client_id] if client_id is not None else foreign_queries.senders(self.database):
            total = self._of_sender(sender, occasion, total, everything=everything)
        return total

    def portion(
        self, sender: str, place: Place, occasion: Occasion, total: Reprocessed, *, everything: bool = False
    ) -> tuple[Place | None, Reprocessed]:
        """Go on with one sender by one page; returns where to continue, None at the end, and the sums so far.

        Errors: ClientError, DatabaseError.
        """
        rules = self.clients.rules(sender)
        if place.failures_done:
            return self._know_again(sender, place, rules, occasion, total)
        below = _ANY_VERSION if everything else self.normaliser.version
        found = failures.waiting(self.database, sender, place.failed_seq, below, _PAGE)
        judge = self._judge(rules, occasion)
        for failure in found:
            total = self._try(failure, judge, occasion, total)
        return (Place(found[-1].failed_seq) if found else Place(failures_done=True)), total

    def _of_sender(self, sender: str, occasion: Occasion, total: Reprocessed, *, everything: bool) -> Reprocessed:
        place: Place | None = Place()
        while place is not None:
            place, total = self.portion(sender, place, occasion, total, everything=everything)
        return total

    def _try(
        self, failure: Failed, judge: Callable[[Failed], Incoming], occasion: Occasion, total: Reprocessed
    ) -> Reprocessed:
        try:
            result = intake.retry(self.database, (failure.client_id, failure.failed_seq), judge, occasion)
        except Refusal:
            return total  # somebody closed it meanwhile
        name = {intake.PROCESSED: "processed", intake.DUPLICATE: "duplicates", intake.FAILED: "failed"}[result.status]
        return replace(total, tried=total.tried + 1, **{name: getattr(total, name) + 1})

    def _know_again(
        self, sender: str, place: Place, rules: Rules, occasion: Occasion, total: Reprocessed
    ) -> tuple[Place | None, Reprocessed]:
        """Let events that an older version read be known by what this one makes of them as well.

        Without it, an event repeated in other words after an update could be taken for a new one.
        """
        old = foreign_queries.of_older_version(self.database, sender, place.event_seq, self.normaliser.version, _PAGE)
        if not old:
            return None, total
        judged = [(seq, incoming(read_json(raw.encode()), rules, self.normaliser)) for seq, raw in old]
        mistakes.report([came for _, came in judged], occasion.trace_id)
        intake.known_by_new_version(self.database, sender, judged, occasion)
        following = place._replace(event_seq=old[-1][0])
        return following, replace(total, known_again=total.known_again + len(old))

    def _judge(self, rules: Rules, occasion: Occasion) -> Callable[[Failed], Incoming]:
        def judge(failure: Failed) -> Incoming:
            came = incoming(read_json((failure.edited or failure.raw).encode()), rules, self.normaliser)
            mistakes.report([came], occasion.trace_id)
            return came

        return judge
