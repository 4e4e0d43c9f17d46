"""Requests as bytes: taken apart, altered, signed again, and sent over a bare socket, so that nothing tidies them."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import time
from dataclasses import dataclass, replace
from typing import Any

from tests.contract import reference as ref


@dataclass(frozen=True)
class Message:
    """One HTTP request; headers in order, as often as they are given."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Message:
        head, _, body = raw.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        pairs = (text.partition(":") for text in rest)
        return cls(line, tuple((name.strip(), value.strip()) for name, _, value in pairs), body)

    def raw(self) -> bytes:
        """The bytes, with the length that the body really has."""
        kept = [(name, value) for name, value in self.headers if name.lower() != "content-length"]
        lines = [self.line, *(f"{name}: {value}" for name, value in kept), f"Content-Length: {len(self.body)}"]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def having(self, **changes: str | None) -> Message:
        """With headers replaced, added, or (None) left out; `x_key_id` stands for `X-Key-Id`."""
        names = {name.replace("_", "-").lower(): value for name, value in changes.items()}
        kept = [(name, value) for name, value in self.headers if name.lower() not in names]
        return replace(self, headers=(*kept, *((name, value) for name, value in names.items() if value is not None)))

    def twice(self, name: str, value: str) -> Message:
        """With one more header of that name."""
        return replace(self, headers=(*self.headers, (name, value)))

    def with_body(self, body: bytes) -> Message:
        return replace(self, body=body)

    def to(self, target: str) -> Message:
        method, _, version = self.line.split(" ")
        return replace(self, line=f"{method} {target} {version}")

    def document(self) -> dict[str, Any]:
        """The JSON that the body carries."""
        packed = self.header("content-encoding") == "gzip"
        return dict(json.loads(gzip.decompress(self.body) if packed else self.body))

    def signature(self, key: bytes) -> str:
        """What the signature of exactly this request is, by the contract's reference."""
        method, target, _ = self.line.split(" ")
        string = ref.signing_string(
            self.header("x-timestamp"),
            method,
            target,
            self.header("x-station-id"),
            self.body,
            encoding=self.header("content-encoding") or None,
            idempotency_key=self.header("idempotency-key") or None,
            if_match=self.header("if-match") or None,
        )
        return ref.signature(key, string)

    def signed(self, key: bytes, *, at_ms: int | None = None) -> Message:
        """Signed afresh, now or at another time."""
        timed = self.having(x_timestamp=str(at_ms or time.time_ns() // 1_000_000))
        return timed.having(x_signature=timed.signature(key))


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 where the connection ended without a word."""

    status: int
    headers: dict[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def send(port: int, message: Message, timeout_s: float = 20.0) -> Answer:
    """Send the bytes, read one answer, close. A server may answer, and close, before it has read everything."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as line:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(message.having(connection="close").raw())
        with contextlib.suppress(ConnectionResetError):
            while piece := line.recv(65_536):
                received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    if not head:
        return Answer(0, {}, b"")
    status_line, *rest = head.decode("latin-1").split("\r\n")
    pairs = (text.partition(":") for text in rest)
    return Answer(int(status_line.split(" ")[1]), {n.strip().lower(): v.strip() for n, _, v in pairs}, body)
