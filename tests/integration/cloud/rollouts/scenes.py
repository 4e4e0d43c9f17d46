"""What operators and stations do about roll-outs, for tests of the cloud's side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.test import TestResponse

from tests.fakes.rauc_bundle import MadeBundle
from tests.integration.cloud.operating import operate
from tests.integration.cloud.senders import CloudUnderTest, Sender

TOKEN = "correct-horse-battery-staple"
Command = Callable[..., Any]


def add(command: Command, bundle: MadeBundle) -> str:
    words = ("--version", bundle.version, "--number", str(bundle.number), "--compatible", bundle.compatible)
    return str(command("bundle", "add", str(bundle.path), *words)["sha256"])


def start(command: Command, bundle: MadeBundle, *words: str) -> int:
    return int(command("rollout", "start", add(command, bundle), *(words or ("--all",)))["rollout_id"])


def ask(sender: Sender) -> dict[str, Any] | None:
    answer = sender.request(b"", target="/v1/update", method="GET")
    assert answer.status_code == 200, answer.text
    assert "X-Signature" in answer.headers
    found: dict[str, Any] | None = answer.json["data"]["update"]
    return found


def fetch(sender: Sender, sha256: str, **headers: str) -> TestResponse:
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    return sender.request(b"", target=f"/v1/bundles/{sha256}", method="GET", extra=extra)


def status_of(sender: Sender, sha256: str, **headers: str) -> int:
    """How a fetch is answered; the answer is let go unread, as by somebody who hangs up."""
    answer = fetch(sender, sha256, **headers)
    answer.close()
    return answer.status_code


def tell(sender: Sender, rollout_id: int, state: str, detail: str = "", **how: Any) -> None:
    payload = {"rollout_id": rollout_id, "state": state, "version": "1.5.0", "number": 13}
    payload |= {"detail": detail, "at_ms": sender.cloud.now_ms}
    answer = operate(sender, "update_result", payload, **how)
    assert answer.status_code == 200, answer.text


def trail(cloud: CloudUnderTest) -> list[str]:
    found = cloud.query("SELECT action FROM processing_log WHERE station_id = '_cloud' ORDER BY log_id")
    return [row[0] for row in found]
