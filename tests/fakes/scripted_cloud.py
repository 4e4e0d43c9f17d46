"""A cloud whose answers a test dictates, rightly signed: for verdicts that the real one seldom gives.

It speaks docs/protocol.md through the contract's own reference (tests/contract/reference.py, books.py) and shares no
code with the product. Without a script it answers as a cloud must.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.contract import reference as ref
from tests.contract.books import Books

NOTHING = {"version": 0, "sha256": hashlib.sha256(b"{}").hexdigest()}


@dataclass(frozen=True)
class Reply:
    """One scripted answer. `data` is merged over what a cloud would say, `members` over a problem's."""

    status: int = 200
    code: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """One request as the cloud got it."""

    target: str
    headers: Mapping[str, str]
    document: dict[str, Any]
    at_mono: float
    status: int

    @property
    def through_seq(self) -> int:
        """The last seq of an ingest request."""
        seqs = sum(entry.get("seqs", 1) - 1 for entry in self.document["rows"]) + len(self.document["counts"])
        return int(self.document["first_seq"]) - 1 + seqs


class ScriptedCloud:
    """Listens on a port of its own between `start` and `stop`. `clock_offset_ms`: how its clock differs."""

    def __init__(self, key: bytes, *, clock_offset_ms: int = 0) -> None:
        self.key = key
        self._clock_offset_ms = clock_offset_ms
        self.script: deque[Reply | Callable[[dict[str, Any]], Reply]] = deque()
        """Answers for the next ingest requests, in order."""
        self.always: Reply | Callable[[dict[str, Any]], Reply] | None = None
        """The answer to every ingest request that finds the script empty."""
        self.seen: list[Seen] = []
        self.books = Books()
        self._server: ThreadingHTTPServer | None = None
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.server_port

    def __enter__(self) -> ScriptedCloud:
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, answer = cloud.answer(self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Nothing: a test prints what it needs."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def ingests(self) -> list[Seen]:
        with self._lock:
            return [seen for seen in self.seen if seen.target == "/v1/ingest"]

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._clock_offset_ms

    def answer(self, target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What to answer; signed where the request's signature is right."""
        headers = {name.lower(): value for name, value in headers.items()}
        encoding = headers.get("content-encoding")
        message = ref.signing_string(
            headers["x-timestamp"], "POST", target, headers["x-station-id"], body, encoding=encoding
        )
        if headers["x-signature"] != ref.signature(self.key, message):
            return 401, {}, b'{"code":"bad-signature"}'
        document = json.loads(gzip.decompress(body) if encoding == "gzip" else body)
        with self._lock:
            reply, said = self._reply(target, headers, document)
            self.seen.append(Seen(target, headers, document, time.monotonic(), reply.status))
            text = json.dumps(self._document(document, reply, said)).encode()
        timestamp = str(self.now_ms())
        signed = ref.signature(self.key, ref.reply_string(timestamp, reply.status, headers["x-signature"], text))
        return reply.status, {**reply.headers, "X-Timestamp": timestamp, "X-Signature": signed}, text

    def _reply(self, target: str, headers: Mapping[str, str], document: dict[str, Any]) -> tuple[Reply, dict[str, Any]]:
        """The answer, and what a 200 says by itself."""
        if abs(int(headers["x-timestamp"]) - self.now_ms()) > ref.WINDOW_MS:
            return Reply(401, "clock-skew"), {}
        if target != "/v1/ingest":
            return Reply(), {"resend_from": []}
        scripted = self.script.popleft() if self.script else (self.always or Reply())
        reply = scripted(document) if callable(scripted) else scripted
        if reply.status != 200:
            return reply, {}
        taken = self.books.take(document)
        if taken["status"] != 200:
            return Reply(taken["status"], taken["code"], taken), {}
        return reply, taken["data"]

    def _document(self, document: dict[str, Any], reply: Reply, said: dict[str, Any]) -> dict[str, Any]:
        trace_id = document["meta"]["trace_id"]
        if reply.status != 200:
            problem = {"status": reply.status, "code": reply.code, "title": reply.code, "detail": "as scripted"}
            problem |= {"type": f"urn:aquasmart:problem:{reply.code}", "trace_id": trace_id, "errors": []}
            return problem | {"server_time": self.now_ms()} | dict(reply.members)
        meta = {"trace_id": trace_id, "server_time": self.now_ms(), "request_id": "0" * 32} | dict(reply.meta)
        return {"meta": meta, "data": {"config": NOTHING, "notice": 0} | said | dict(reply.data)}
