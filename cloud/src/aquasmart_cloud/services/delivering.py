"""The worker's job `deliveries`: what waits in the outbox is told, to each receiver in order, at least once.

Claims and outcomes are short transactions (store.outbox says why nothing is lost); the calls are made between them,
one thread for each receiver, so that one that hangs keeps no other waiting. A receiver that does not work is left
alone for a while, with all that waits for it: the fewest attempts come first then, so that one message that a receiver
cannot digest holds up no other.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from aquasmart_cloud.config_telling import Telling
from aquasmart_cloud.core.delivering import DRAWS, Attempt, wait_ms
from aquasmart_cloud.core.errors import CloudError
from aquasmart_cloud.outgoing.posting import Posting
from aquasmart_cloud.store import outbox
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.outbox import DELIVERED, FAILED, MAILTO, WAITING, Delivery, Outcome
from aquasmart_cloud.store.webhooks import Webhooks

MOST = 200
RECEIVERS = 8
FOR_EACH = 10
PATIENCE_S = 25.0
"""For all calls of a cycle: one that lasts longer (a name server hangs) is left to itself, and its claim runs out."""
POSTPONED_MS = 300_000
"""How long at most what waits for a receiver waits for it to work again, beyond its own backoff."""
FORGET_EVERY_MS = 3_600_000
_FORGET = 1_000
_ITS_OWN_FAULT = frozenset({400, 401, 403, 404, 405, 410, 411, 413, 414, 415, 422, 501})
"""Refusals of one message, or at once: they say nothing of how long the receiver would keep the next one waiting."""

_BEHIND = "waits until the receiver works"

Ended = tuple[Delivery, Attempt | None]
"""What was claimed, and how its attempt ended; None where none was made."""


@dataclass(slots=True)
class Delivering:
    """The job. `draw` gives 0 … 1000 by chance."""

    database: Database
    webhooks: Webhooks
    telling: Telling = field(default_factory=Telling)
    posting: Posting = field(default_factory=Posting)
    draw: Callable[[], int] = lambda: secrets.randbelow(DRAWS)
    name: str = "deliveries"
    every_s: int = 2
    _forgot_ms: int = 0

    def cycle(self, now_ms: int) -> str:
        """Deliver what is due, once. Errors: DatabaseError."""
        claimed = self._claim(_chosen(outbox.due(self.database, now_ms, MOST)), now_ms)
        ended = self._call(claimed)
        said = self._keep(ended, now_ms)
        if now_ms - self._forgot_ms >= FORGET_EVERY_MS:
            self._forgot_ms = now_ms
            with self.database.writing("") as connection:
                outbox.forget(connection, now_ms, _FORGET)
        return said

    def one(self, delivery_id: str, now_ms: int) -> Delivery | None:
        """Deliver one now, for somebody who waits for its outcome; None where there is no such delivery."""
        found = outbox.load(self.database, delivery_id)
        if found is not None and found.state == WAITING:
            self._keep(self._call(self._claim([[found]], now_ms)), now_ms)
        return outbox.load(self.database, delivery_id)

    def _claim(self, chosen: Sequence[Sequence[Delivery]], now_ms: int) -> list[list[Delivery]]:
        if not chosen:
            return []
        with self.database.writing("") as connection:
            tried = [[outbox.claim(connection, each, now_ms) for each in some] for some in chosen]
        return [got for some in tried if (got := [each for each in some if each is not None])]

    def _call(self, claimed: Sequence[Sequence[Delivery]]) -> list[Ended]:
        """Make the calls. What is not over in time is left out: its claim runs out, and it is tried again."""
        if not claimed:
            return []
        hooks = {some[0].target: self._prepare(some[0].target) for some in claimed}
        pool = ThreadPoolExecutor(max_workers=RECEIVERS, thread_name_prefix="deliver")
        futures = [pool.submit(_in_order, some, hooks[some[0].target]) for some in claimed]
        finished, _ = wait(futures, PATIENCE_S)
        pool.shutdown(wait=False, cancel_futures=True)
        return [ended for future in futures if future in finished for ended in future.result()]

    def _prepare(self, target: str) -> Callable[[Delivery], Attempt] | str:
        """How to call a receiver; a text where there is nobody to call. Reads the database, so not in a thread."""
        if target.startswith(MAILTO):
            return self._by_mail(target.removeprefix(MAILTO))
        try:
            hook = self.webhooks.find(target)
        except CloudError as fault:
            said = f"{fault}"
            return lambda _: Attempt(delivered=False, status=None, said=said)
        if hook is None:
            return "the webhook was removed or disabled"
        posting = self.posting
        return lambda each: posting.post(hook.url, hook.secret, each.delivery_id, each.body.encode(), _now_ms())

    def _by_mail(self, recipient: str) -> Callable[[Delivery], Attempt] | str:
        mail = self.telling.mail
        if mail is None or recipient not in self.telling.recipients:
            return "AQUASMART_MAIL_TO no longer names this address"
        return lambda each: mail.send(recipient, each.delivery_id, each.body, _now_ms())

    def _keep(self, ended: Sequence[Ended], now_ms: int) -> str:
        if not ended:
            return ""
        counts, later_ms = {DELIVERED: 0, WAITING: 0, FAILED: 0}, dict[str, int]()
        with self.database.writing("") as connection:
            for delivery, attempt in ended:
                outcome = self._outcome(delivery, attempt, now_ms)
                counts[outcome.state] += attempt is not None
                outbox.end(connection, delivery, outcome)
                if attempt is not None and outcome.state == WAITING and attempt.status not in _ITS_OWN_FAULT:
                    later_ms[delivery.target] = min(outcome.due_at, now_ms + POSTPONED_MS)
            for target, until_ms in later_ms.items():
                outbox.postpone(connection, target, until_ms)
        said = [("delivered", counts[DELIVERED]), ("to be tried again", counts[WAITING]), ("failed", counts[FAILED])]
        return ", ".join(f"{number} {what}" for what, number in said if number)

    def _outcome(self, delivery: Delivery, attempt: Attempt | None, now_ms: int) -> Outcome:
        """What becomes of a delivery after an attempt, or after none was made since one before it failed."""
        if attempt is None:
            return Outcome(WAITING, now_ms, delivery.attempts - 1, delivery.status, delivery.said or _BEHIND, None)
        made = delivery.attempts
        if attempt.delivered:
            return Outcome(DELIVERED, now_ms, made, attempt.status, attempt.said, now_ms)
        if attempt.final or now_ms - delivery.created_at >= self.telling.give_up_ms:
            return Outcome(FAILED, now_ms, made, attempt.status, attempt.said, now_ms)
        due_ms = now_ms + wait_ms(made, self.draw(), attempt.wait_ms)
        last_ms = delivery.created_at + self.telling.give_up_ms
        return Outcome(WAITING, max(min(due_ms, last_ms), now_ms + 1), made, attempt.status, attempt.said, None)


def _in_order(some: Sequence[Delivery], call: Callable[[Delivery], Attempt] | str) -> list[Ended]:
    """One receiver's deliveries, one after the other, until one shows that the receiver does not work."""
    if isinstance(call, str):
        return [(each, Attempt(delivered=False, status=None, said=call, final=True)) for each in some]
    ended: list[Ended] = []
    for number, each in enumerate(some):
        attempt = call(each)
        ended.append((each, attempt))
        if not attempt.delivered and attempt.status not in _ITS_OWN_FAULT:
            return ended + [(rest, None) for rest in some[number + 1 :]]
    return ended


def _chosen(due: Sequence[Delivery]) -> list[list[Delivery]]:
    """The first few of the first receivers, for each those that were tried least first."""
    by_target: dict[str, list[Delivery]] = {}
    for each in due:
        by_target.setdefault(each.target, []).append(each)
    some = [sorted(each, key=lambda d: (d.attempts, d.created_at, d.due_at)) for each in by_target.values()]
    return [each[:FOR_EACH] for each in some[:RECEIVERS]]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
