"""What tests of operations look at: ops.db read as any third party would, and answers signed as by the cloud."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from demo.faults import Exchange, Fault, response
from tests.contract import reference as ref
from tests.integration.world import World, eventually

OPERATIONS = "/v1/operations/"


def query(world: World, text: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of the station's ops.db."""
    path = world.site.root / "station" / "ops.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(text, values).fetchall()


def states(world: World) -> list[str]:
    """The state of every operation, in order."""
    return [row[0] for row in query(world, "SELECT state FROM operation ORDER BY id")]


def told(world: World) -> list[Exchange]:
    """Every operation's request that came past the relay."""
    return [each for each in world.relay.exchanges if each.target.startswith(OPERATIONS)]


def visit(world: World, note: str = "swapped the filter") -> int:
    """A visit, queued by the real command."""
    return add(world, "service_visit", "technician=Ada", f"note={note}")


def add(world: World, kind: str, *parameters: str) -> int:
    return int(json.loads(world.site.station("operations", "add", kind, *parameters, "--json"))["operation"])


def operation(world: World, number: int) -> dict[str, Any]:
    return dict(json.loads(world.site.station("operations", "show", str(number), "--json")))


def await_state(world: World, number: int, state: str) -> dict[str, Any]:
    """The operation, once it is in this state."""
    look = "SELECT 1 FROM operation WHERE id = ? AND state = ?"
    eventually(lambda: query(world, look, number, state), f"operation {number} {state}")
    return operation(world, number)


def heard_by_cloud(world: World) -> list[dict[str, Any]]:
    """What the cloud has kept, oldest first."""
    found = json.loads(world.site.cloud("operations", "list", world.site.station_id, "--json"))
    return list(reversed(found["operations"]))


def signed(
    world: World, status: int, code: str, headers: dict[str, str] | None = None, **members: Any
) -> Callable[[Exchange], Fault]:
    """A fault that answers as the cloud would with such a problem, signed with the station's own key."""
    key = world.key()

    def fault(exchange: Exchange) -> Fault:
        trace_id = json.loads(exchange.body)["meta"]["trace_id"] if exchange.body else ""
        now_ms = time.time_ns() // 1_000_000
        document = {
            "status": status,
            "code": code,
            "detail": "as scripted",
            "trace_id": trace_id,
            "server_time": now_ms,
        }
        body = json.dumps(document | members).encode()
        reply = ref.reply_string(str(now_ms), status, exchange.headers["x-signature"], body)
        signature = {"X-Timestamp": str(now_ms), "X-Signature": ref.signature(key, reply)}
        return Fault("signed", forward=False, answer=response(status, body, signature | (headers or {})))

    return fault


def during(world: World, fault: Callable[[Exchange], Fault | None], *, times: int, path: str = OPERATIONS) -> None:
    """The fault for the next `times` requests below `path`; then none."""
    left = [times]

    def policy(exchange: Exchange) -> Fault | None:
        if not exchange.target.startswith(path) or left[0] == 0:
            return None
        left[0] -= 1
        return fault(exchange)

    world.relay.policy = policy
