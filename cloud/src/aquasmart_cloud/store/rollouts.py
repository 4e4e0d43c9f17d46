"""Roll-outs as stored: started, stopped, resumed, offered, reported on. The only writer of `rollout` and its stations.

Everything that changes one is a transaction of its own or part of an operation's, so that a result, what follows from
it (the next stage, a stop) and its line in the audit trail are there together or not at all: a repeated result finds
itself told and changes nothing (core.rollouts.moves_on).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aquasmart_cloud.core import rollouts as rules
from aquasmart_cloud.core.alert_kinds import CLOUD
from aquasmart_cloud.core.errors import CloudError
from aquasmart_cloud.core.rollouts import ALL, CANARIES, FINISHED, ITSELF, RUNNING, STOPPED, Bundle, Offer, Window

from . import intake_log
from .connection import Connection
from .intake_log import Occasion

LONGEST_DETAIL = 500

_MEMBERS = (
    "SELECT s.station_id FROM station s LEFT JOIN station_config c ON c.station_id = s.station_id"
    " WHERE s.state = 'active' AND (? = '' OR c.group_name = ?) ORDER BY COALESCE(s.last_seen_at, 0) DESC, s.station_id"
)
_UNDER_WAY = (
    "SELECT r.rollout_id FROM rollout r JOIN rollout_station m ON m.rollout_id = r.rollout_id"
    " JOIN station s ON s.station_id = m.station_id LEFT JOIN station_config c ON c.station_id = m.station_id"
    " WHERE r.state = 'running' AND s.state = 'active' AND (? = '' OR c.group_name = ?) ORDER BY r.rollout_id LIMIT 1"
)
_NEXT = "SELECT COALESCE(MAX(rollout_id), 0) + 1 FROM rollout"
_START = (
    "INSERT INTO rollout (rollout_id, sha256, group_name, window_from, window_to, time_zone, stage, state, started_at,"
    " started_by, changed_at, changed_by, reason) VALUES (?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?, ?, '')"
)
_ENLIST = (
    "INSERT INTO rollout_station (station_id, rollout_id, canary, state, version, number, detail)"
    " VALUES (?, ?, ?, '', '', 0, '')"
)
_OFFERED = (
    "SELECT r.rollout_id, r.state, r.stage, r.window_from, r.window_to, COALESCE(z.time_zone, r.time_zone), m.canary,"
    " m.state, m.offered_at, b.sha256, b.size_bytes, b.version, b.number, b.compatible, b.verified, b.added_at,"
    " b.added_by FROM rollout_station m JOIN rollout r ON r.rollout_id = m.rollout_id"
    " JOIN bundle b ON b.sha256 = r.sha256 LEFT JOIN station_zone z ON z.station_id = m.station_id"
    " WHERE m.station_id = ? ORDER BY m.rollout_id DESC LIMIT 1"
)
_NOTE_OFFERED = (
    "UPDATE rollout_station SET offered_at = ? WHERE station_id = ? AND rollout_id = ? AND offered_at IS NULL"
)
_STANDING = (
    "SELECT m.state, m.canary, r.state FROM rollout_station m JOIN rollout r ON r.rollout_id = m.rollout_id"
    " WHERE m.station_id = ? AND m.rollout_id = ?"
)
_REPORT = (
    "UPDATE rollout_station SET state = ?, version = ?, number = ?, detail = ?, at = ?, reported_at = ?"
    " WHERE station_id = ? AND rollout_id = ?"
)
_CANARIES = "SELECT state FROM rollout_station WHERE rollout_id = ? AND canary = 1"
_SET_STAGE = "UPDATE rollout SET stage = ?, changed_at = ?, changed_by = ? WHERE rollout_id = ?"
_SET_STATE = "UPDATE rollout SET state = ?, changed_at = ?, changed_by = ?, reason = ? WHERE rollout_id = ?"
_LEFT = (
    "SELECT COUNT(*) FROM rollout_station m JOIN station s ON s.station_id = m.station_id WHERE m.rollout_id = ?"
    " AND m.state NOT IN ('good', 'fell-back', 'refused', 'failed') AND s.state = 'active'"
)
_GIVE_UP = (
    "UPDATE rollout_station SET canary = 0 WHERE rollout_id = ? AND canary = 1"
    " AND state IN ('fell-back', 'refused', 'failed')"
)
_STATE = "SELECT state, stage FROM rollout WHERE rollout_id = ?"


class RolloutError(CloudError):
    """A command about a roll-out cannot be done."""


def start(
    connection: Connection,
    bundle: Bundle,
    group: str,
    canaries: Sequence[str] | int,
    window: Window,
    time_zone: str,
    occasion: Occasion,
) -> int:
    """Offer a bundle to every active station of a group ('' for all), canaries first; the roll-out's number.

    `canaries` are named, or so many of those that were heard last. Who belongs to it is decided now: a station that
    joins the group later is not offered it. Errors: RolloutError.
    """
    members = [row[0] for row in connection.execute(_MEMBERS, (group, group)).fetchall()]
    if not members:
        raise RolloutError(
            f"there is no active station in group {group}" if group else "there is no active station",
            "'aquasmart-cloud station group ID GROUP' puts stations into one",
        )
    other = connection.execute(_UNDER_WAY, (group, group)).fetchone()
    if other is not None:
        raise RolloutError(
            f"roll-out {other[0]} is under way for some of these stations",
            f"let it finish, or stop it: 'aquasmart-cloud rollout stop {other[0]}'",
        )
    chosen = set(members[:canaries]) if isinstance(canaries, int) else set(canaries)
    strangers = sorted(chosen - set(members))
    if strangers:
        raise RolloutError(
            f"{', '.join(strangers)} cannot be a canary: not an active station of this group", "choose among its own"
        )
    rollout_id = int(connection.execute(_NEXT).fetchone()[0])
    stage, by, now_ms = (CANARIES if chosen else ALL), occasion.by, occasion.now_ms
    values = (rollout_id, bundle.sha256, group, *window, time_zone, stage, now_ms, by, now_ms, by)
    connection.execute(_START, values)
    connection.executemany(_ENLIST, [(each, rollout_id, int(each in chosen)) for each in members])
    detail = {"rollout": rollout_id, "sha256": bundle.sha256, "version": bundle.version, "group": group}
    more = {"stations": len(members), "canaries": sorted(chosen)[:100], "window": str(window), "time_zone": time_zone}
    intake_log.note(connection, CLOUD, occasion, "rollout-started", detail | more)
    return rollout_id


def offered(connection: Connection, station_id: str) -> tuple[Offer, bool] | None:
    """What this station is offered, by the newest roll-out that lists it; and whether it is so for the first time."""
    row = connection.execute(_OFFERED, (station_id,)).fetchone()
    if row is None:
        return None
    rollout_id, state, stage, since, until, zone, canary, own, offered_at, *rest = row
    wanted = rules.concerns(state, stage, canary=bool(canary), station_state=own)
    if wanted is False:
        return None
    bundle = Bundle._make((*rest[:5], bool(rest[5]), *rest[6:]))
    return Offer(rollout_id, wanted is None, Window(since, until), zone, bundle), offered_at is None


def note_offered(connection: Connection, station_id: str, rollout_id: int, now_ms: int) -> None:
    """The station has been told of it."""
    connection.execute(_NOTE_OFFERED, (now_ms, station_id, rollout_id))


def note_result(
    connection: Connection, station_id: str, payload: Mapping[str, Any], trace_id: str, now_ms: int
) -> bool:
    """What a station tells of an update, with what follows from it. False where no such roll-out lists it.

    A result that is older than what is known, or known already, changes nothing.
    """
    rollout_id, told = payload["rollout_id"], payload["state"]
    row = connection.execute(_STANDING, (station_id, rollout_id)).fetchone()
    if row is None:
        return False
    former, canary, state = row
    if not rules.moves_on(former, told):
        return True
    detail = payload["detail"][:LONGEST_DETAIL]
    told_at = (payload["at_ms"], now_ms)
    values = (told, payload["version"][:64], payload["number"], detail, *told_at, station_id, rollout_id)
    connection.execute(_REPORT, values)
    if told not in rules.ENDED:
        return True
    occasion = Occasion(now_ms, "", trace_id, station_id)
    intake_log.note(
        connection, CLOUD, occasion, f"update-{told}", {"rollout": rollout_id, "station": station_id, "detail": detail}
    )
    if canary and told in rules.BAD and state == RUNNING:
        reason = rules.why_stopped(station_id, told, detail)
        _change(connection, rollout_id, STOPPED, ITSELF, reason, occasion)
        return True
    if canary and told == rules.GOOD:
        _next_stage(connection, rollout_id, occasion)
    if state == RUNNING and not _left(connection, rollout_id):
        _change(connection, rollout_id, FINISHED, ITSELF, "", occasion)
    return True


def stop(connection: Connection, rollout_id: int, reason: str, occasion: Occasion) -> None:
    """Offer it to nobody any more; stations that are fetching it cease. One that stopped by itself is then a person's
    affair: its alert is over. Errors: RolloutError."""
    state, _ = _load(connection, rollout_id)
    if state == FINISHED:
        raise RolloutError(f"roll-out {rollout_id} has finished", "there is nothing to stop")
    _change(connection, rollout_id, STOPPED, occasion.by, reason[:LONGEST_DETAIL], occasion)


def resume(connection: Connection, rollout_id: int, occasion: Occasion) -> None:
    """Let it go on. Canaries that ended badly no longer count; the others are asked to prove it.

    Errors: RolloutError where it is not stopped, or where no canary would be left to prove anything.
    """
    state, stage = _load(connection, rollout_id)
    if state != STOPPED:
        raise RolloutError(f"roll-out {rollout_id} is {state}", "only a stopped one can be resumed")
    given_up = connection.execute(_GIVE_UP, (rollout_id,)).rowcount
    left = [row[0] for row in connection.execute(_CANARIES, (rollout_id,)).fetchall()]
    if given_up and stage == CANARIES and not left:
        raise RolloutError(
            f"every canary of roll-out {rollout_id} has ended badly: nothing shows that this bundle is good",
            "start a new roll-out, with other canaries or with a mended bundle",
        )
    _change(connection, rollout_id, RUNNING, occasion.by, "", occasion)
    if stage == CANARIES:
        _next_stage(connection, rollout_id, occasion)
    if not _left(connection, rollout_id):
        _change(connection, rollout_id, FINISHED, occasion.by, "", occasion)


def _next_stage(connection: Connection, rollout_id: int, occasion: Occasion) -> None:
    _, stage = _load(connection, rollout_id)
    states = [row[0] for row in connection.execute(_CANARIES, (rollout_id,)).fetchall()]
    if stage == CANARIES and rules.stage_after(states) == ALL:
        connection.execute(_SET_STAGE, (ALL, occasion.now_ms, occasion.by, rollout_id))
        intake_log.note(connection, CLOUD, occasion, "rollout-for-all", {"rollout": rollout_id})


def _change(connection: Connection, rollout_id: int, state: str, by: str, reason: str, occasion: Occasion) -> None:
    connection.execute(_SET_STATE, (state, occasion.now_ms, by, reason[:LONGEST_DETAIL], rollout_id))
    words = {RUNNING: "rollout-resumed", STOPPED: "rollout-stopped", FINISHED: "rollout-finished"}
    detail = {"rollout": rollout_id, "reason": reason, "itself": by == ITSELF}
    intake_log.note(connection, CLOUD, occasion, words[state], detail)


def _left(connection: Connection, rollout_id: int) -> int:
    """How many active stations have not ended."""
    return int(connection.execute(_LEFT, (rollout_id,)).fetchone()[0])


def _load(connection: Connection, rollout_id: int) -> tuple[str, str]:
    row = connection.execute(_STATE, (rollout_id,)).fetchone()
    if row is None:
        raise RolloutError(f"there is no roll-out {rollout_id}", "'aquasmart-cloud rollout list' shows those there are")
    return row[0], row[1]
