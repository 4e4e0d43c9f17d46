"""Many senders of the very same requests, against a real gunicorn, until each has heard that all of them are taken.

Signed batches of stations, and foreign events of clients or of stations that sign.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from demo.site import Site
from tests.contract import reference as ref
from tests.integration.cloud.senders import CloudUnderTest
from tests.integration.store.stores import Store

PATIENCE_S = 120


@dataclass(frozen=True)
class Key:
    station_id: str
    key_id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Message:
    """One batch as it is sent, by everyone alike."""

    key: Key
    body: bytes
    rows: int
    target = "/v1/ingest"
    taken = frozenset({200})

    def headers(self) -> dict[str, str]:
        return _signed(self.key, self.target, self.body)

    def inserted(self, answer: Any) -> int:
        return int(answer["data"]["inserted"])


@dataclass(frozen=True)
class Events:
    """Foreign events as they are sent, by everyone alike: with a client's token, or signed by a station."""

    sender: str | Key
    body: bytes
    target = "/api/events"
    taken = frozenset({200, 201, 207, 409, 422})

    def headers(self) -> dict[str, str]:
        if isinstance(self.sender, Key):
            return _signed(self.sender, self.target, self.body)
        return {"Authorization": f"Bearer {self.sender}", "Content-Type": "application/json"}

    def inserted(self, answer: Any) -> int:
        return int(answer["processed"])


class Crowd:
    """Threads that each send their own list of messages in order, repeating each until it is acknowledged."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self.inserted = 0
        """Sum of `inserted` over all answers that arrived."""
        self.refused: list[str] = []
        self.broken = 0
        """Requests that were not taken: the connection was lost, or 503."""

    def send_all(self, lists: Sequence[Sequence[Message | Events]]) -> None:
        """Returns when every thread has heard of each of its messages that it was taken."""
        threads = [threading.Thread(target=self._send_list, args=(messages,), daemon=True) for messages in lists]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + PATIENCE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert self.refused == []
        assert not any(thread.is_alive() for thread in threads), f"not done within {PATIENCE_S} s"

    def _send_list(self, messages: Sequence[Message | Events]) -> None:
        line = HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            for message in messages:
                while (status := self._try(line, message)) not in message.taken:
                    if status not in {0, 503}:
                        return
                    time.sleep(0.05)
        finally:
            line.close()

    def _try(self, line: HTTPConnection, message: Message | Events) -> int:
        """One request; its status, 0 where no answer came."""
        try:
            status, text = _post(line, message)
        except (OSError, HTTPException):
            line.close()  # the next request opens it anew
            status, text = 0, b""
        with self._lock:
            if status in message.taken:
                self.inserted += message.inserted(json.loads(text))
            elif status in {0, 503}:
                self.broken += 1
            else:
                self.refused.append(f"{status} {text.decode(errors='replace')[:300]}")
        return status


def _post(line: HTTPConnection, message: Message | Events) -> tuple[int, bytes]:
    line.request("POST", message.target, message.body, message.headers())
    answer = line.getresponse()
    return answer.status, answer.read()


def _signed(key: Key, target: str, body: bytes) -> dict[str, str]:
    """Every repetition is signed afresh."""
    timestamp = str(time.time_ns() // 1_000_000)
    string = ref.signing_string(timestamp, "POST", target, key.station_id, body)
    return {
        "X-Station-Id": key.station_id,
        "X-Key-Id": key.key_id,
        "X-Timestamp": timestamp,
        "X-Signature": ref.signature(key.key, string),
        "X-Software-Version": "0.1.0",
    }


@dataclass
class Served:
    """A gunicorn on a fresh database, and an eye on that database."""

    site: Site
    cloud: CloudUnderTest

    def key(self, station_id: str) -> Key:
        made = json.loads(self.site.cloud("station", "add", station_id, "--json"))
        return Key(station_id, made["key_id"], bytes.fromhex(made["key"]))

    def workers(self) -> list[int]:
        """The gunicorn workers' process ids."""
        master = self.site.pid("cloud")
        found = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [int(pid) for pid in found]

    def kill_a_worker(self, number: int) -> bool:
        """SIGKILL for one of them; the master starts another."""
        running = self.workers()
        if not running:
            return False
        try:
            os.kill(running[number % len(running)], signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def message(key: Key, document: dict[str, Any]) -> Message:
    rows = len(document["counts"]) + sum(row.get("seqs", 1) - 1 for row in document["rows"])
    return Message(key, json.dumps(document).encode(), rows)


@contextmanager
def served(store: Store, folder: Path, port: int) -> Iterator[Served]:
    """Two gunicorn workers of four threads."""
    folder.joinpath("site").mkdir()
    with store.cloud(folder) as cloud:
        settings = {
            "AQUASMART_DATABASE_URL": cloud.database.url,
            "AQUASMART_WORKERS": "2",
            "AQUASMART_THREADS": "4",
        }
        site = Site(folder / "site", cloud_port=port, cloud_settings=settings)
        try:
            site.provision()
            site.start("cloud")
            yield Served(site, cloud)
        finally:
            site.stop_all()
