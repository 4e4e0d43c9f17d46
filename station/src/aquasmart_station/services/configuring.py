"""Settings and notices from afar: fetched when announced, checked, brought into force, answered for.

A side lane of sync. A document is checked whole before anything of it counts; then it is one row of ops.db, which
the services that own the settings follow without a restart, together with the operation that tells the cloud: one
transaction, so after a power cut both are there or neither. What was refused or rolled back is remembered by its hash.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..adapters import config_rows, notice_rows, operation_rows
from ..adapters.config_rows import InForce
from ..adapters.ops import OpsFile
from ..core.errors import OpsError
from ..core.outcome import RECHECK_S, Delivered, Hold, KeyRefused, Outcome, Refused, Retry, Unverified
from ..core.pacing import Pace
from ..core.phrases import Phrase
from ..core.ports import Clock
from ..core.remote_config import EMPTY_SHA256, faults_of, flatten, on_trial, sha256_of
from .exchange import Asked, Exchange
from .probation import Probation

CONFIG = "/v1/config"
NOTICES = "/v1/notices?after="


class ConfigLane:
    """Fetches what was announced. `apply` is told of the settings in force, at the start and at each change."""

    def __init__(
        self,
        *,
        ops: OpsFile,
        exchange: Exchange,
        clock: Clock,
        draw: Callable[[], float],
        meters: Mapping[str, int],
        apply: Callable[[InForce], None],
        probation: Probation,
        announced: Callable[[Mapping[str, Any]], None] = lambda _: None,
        recheck_s: float = RECHECK_S,
    ) -> None:
        """`announced` gets the data of this lane's own answers: they announce as all do."""
        self._ops, self._exchange, self._clock, self._draw = ops, exchange, clock, draw
        self._meters, self._apply, self._probation, self._others = meters, apply, probation, announced
        self._pace = Pace(recheck_s=recheck_s)
        self._asking = ""
        self._wanted: tuple[int, str] | None = None
        self._notice = 0
        self._have_notice: int | None = None
        self._seen: tuple[int, int] | None = None
        self._force = InForce(0, EMPTY_SHA256, {}, {}, trial=False, made_here={})
        self.next_due_s = 0.0
        self.text = ""

    def announced(self, data: Mapping[str, Any]) -> None:
        """Take note of what a verified answer announces."""
        config, notice = data.get("config"), data.get("notice")
        if (
            isinstance(config, dict)
            and isinstance(config.get("version"), int)
            and isinstance(config.get("sha256"), str)
        ):
            self._wanted = (config["version"], config["sha256"])
        if isinstance(notice, int):
            self._notice = notice

    def facts(self) -> dict[str, Any]:
        """For the heartbeat: what is in force."""
        return {"config": {"version": self._force.version, "sha256": self._force.sha256}}

    def step(self) -> None:
        """Do what is due. Raises Fenced; a fault of ops.db is waited out."""
        try:
            self._follow()
            if self._asking:
                outcome = self._exchange.outcome(0.0)
                if outcome is not None:
                    asked, self._asking = self._asking, ""
                    self._settle(asked, outcome)
            elif self._mono_s() >= max(self.next_due_s, self._pace.not_before_s if self._pace.asked_for else 0.0):
                self._ask()
            if self._probation.step(self._force):
                self._follow()
        except OpsError as fault:
            self._asking = ""
            self._exchange.abandon()
            self._fail(Retry(fault.message))

    def finish(self, within_s: float) -> None:  # noqa: ARG002
        """Nothing waits for this lane: what was announced is announced again."""
        self._exchange.abandon()

    def _follow(self) -> None:
        """Whoever changed the settings, those that this service owns are applied at once."""
        moment = self._ops.moment()
        if moment == self._seen:
            return
        with self._ops.reading() as connection:
            force = config_rows.in_force(connection)
            self._have_notice = notice_rows.newest(connection)
        self._seen = moment
        if force != self._force or not self._probation.ready:
            self._force = force
            self._apply(force)
            self._probation.begin(force)

    def _ask(self) -> None:
        """The configuration first: it may be what mends the rest. On trial, it is asked for as a sign of the link."""
        if (self._wanted is not None and not self._known(self._wanted)) or self._probation.asks_for_a_sign():
            self._send(CONFIG)
        elif self._have_notice is not None and self._notice > self._have_notice:
            self._send(f"{NOTICES}{self._have_notice}")

    def _known(self, wanted: tuple[int, str]) -> bool:
        if wanted == (self._force.version, self._force.sha256):
            return True
        with self._ops.reading() as connection:
            bad = config_rows.known_bad(connection, wanted[1])
        return bad is not None and bad.version == wanted[0]

    def _send(self, target: str) -> None:
        self._asking = target
        self._exchange.ask(Asked(target, b"", secrets.token_hex(16), method="GET"))

    def _settle(self, target: str, outcome: Outcome) -> None:
        now_s = self._mono_s()
        match outcome:
            case Delivered():
                self._pace.succeeded()
                self.next_due_s, self.text = 0.0, ""
                self._probation.link_is_up()
                self.announced(outcome.data)
                self._others(outcome.data)
                if target == CONFIG:
                    self._take_config(outcome.data)
                else:
                    self._take_notices(outcome.data)
                return
            case Retry():
                self._fail(outcome)
                return
            case Unverified():
                self._probation.no_sign()
                self._pace.unverified(now_s, self._draw())
            case Hold() | KeyRefused() | Refused():
                self._pace.held(now_s, self._draw())
            case _:
                self._pace.failed(now_s, self._draw())
        self.next_due_s = self._pace.not_before_s

    def _fail(self, outcome: Retry) -> None:
        self.text = outcome.reason
        self._probation.no_sign()
        self._pace.failed(self._mono_s(), self._draw(), after_s=outcome.after_s, verified=outcome.verified)
        self.next_due_s = self._pace.not_before_s

    def _take_config(self, data: Mapping[str, Any]) -> None:
        version, sha256, document = data.get("version"), data.get("sha256"), data.get("document")
        if not isinstance(version, int) or not isinstance(sha256, str) or not isinstance(document, dict):
            self._fail(Retry(Phrase("the cloud's configuration is not whole"), verified=True))
            return
        if (version, sha256) == (self._force.version, self._force.sha256):
            return
        now_ms = self._clock.wall_ns() // 1_000_000
        with self._ops.writing() as connection:
            result, reasons = self._bring_into_force(connection, version, sha256, document, now_ms)
            if result:
                tell(connection, version, sha256, result, reasons, now_ms)

    def _bring_into_force(
        self, connection: sqlite3.Connection, version: int, sha256: str, document: dict[str, Any], now_ms: int
    ) -> tuple[str, Sequence[str]]:
        """What becomes of a document, and why; no word while it is on trial."""
        bad = config_rows.known_bad(connection, sha256)
        if bad is not None:
            config_rows.renumber(connection, bad.id, version)
            return bad.state, bad.reasons
        faults = _faults(document, sha256, self._meters)
        if faults:
            config_rows.add_document(
                connection, state="refused", version=version, sha256=sha256, document=document, now_ms=now_ms,
                reasons=faults,
            )  # fmt: skip
            return "refused", faults
        current = config_rows.current_document(connection)
        if current is not None and current.sha256 == sha256:
            config_rows.renumber(connection, current.id, version)  # equal documents: nothing to apply
            return ("", ()) if current.state == "trial" else ("applied", ())
        last_good = config_rows.last_applied(connection)
        risky = on_trial(flatten(last_good.document) if last_good else {}, flatten(document))
        config_rows.add_document(
            connection,
            state="trial" if risky else "applied",
            version=version,
            sha256=sha256,
            document=document,
            now_ms=now_ms,
            baseline=self._probation.baseline() if risky else None,
        )
        if risky:
            return "", ()
        config_rows.absorb_local(connection, version)
        return "applied", ()

    def _take_notices(self, data: Mapping[str, Any]) -> None:
        """Kept, shown, and acknowledged in one transaction."""
        found = data.get("notices")
        now_ms = self._clock.wall_ns() // 1_000_000
        with self._ops.writing() as connection:
            for each in found if isinstance(found, list) else ():
                if notice_rows.keep(connection, each, now_ms):
                    parameters = {"number": each["number"], "received_at_ms": now_ms}
                    operation_rows.enqueue(connection, "notice_received", parameters, now_ms)
            if not found:
                # A cloud that lost notices counts from below ours again; do not ask it at every answer.
                self._notice = self._have_notice or 0

    def _mono_s(self) -> float:
        return self._clock.mono_ns() / 1e9


def tell(
    connection: sqlite3.Connection, version: int, sha256: str, result: str, reasons: Sequence[str], now_ms: int
) -> None:
    """Queue what became of a configuration, within the transaction in which it did."""
    parameters = {"version": version, "sha256": sha256, "result": result, "reasons": list(reasons)}
    operation_rows.enqueue(connection, "config_applied", parameters, now_ms)


def _faults(document: dict[str, Any], sha256: str, meters: Mapping[str, int]) -> list[str]:
    if sha256_of(document) != sha256:
        return ["the document's hash is not the one that was announced"]
    return faults_of(document, meters)
