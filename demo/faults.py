"""What can happen to one exchange between station and cloud, as values; the relay (demo/link.py) does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Answer = bytes | Callable[[bytes], bytes]


@dataclass(frozen=True)
class Fault:
    """How one exchange goes wrong; the default is that it does not."""

    name: str = ""
    forward: bool = True
    """Whether the request reaches the cloud at all."""
    times: int = 1
    """How often the cloud gets the request."""
    request_bytes: int | None = None
    """The line is cut after so many bytes of the request."""
    answer: Answer | None = None
    """What the station gets instead, or how the cloud's answer is changed."""
    answer_bytes: int | None = None
    """The line is cut after so many bytes of the answer."""
    delay_request_s: float = 0.0
    delay_answer_s: float = 0.0
    close: bool = False
    """End the connection afterwards, politely."""
    reset: bool = False
    """Reset the connection afterwards."""

    def answer_to(self, answer: bytes) -> bytes:
        """What the station gets to see of the cloud's `answer`."""
        changed = answer
        if callable(self.answer):
            changed = self.answer(answer)
        elif self.answer is not None:
            changed = self.answer
        return changed if self.answer_bytes is None else changed[: self.answer_bytes]


@dataclass
class Exchange:
    """One request as it was on the wire, what the cloud answered, and what the station got."""

    request: bytes
    answer: bytes = b""
    delivered: bytes = b""
    fault: str = ""
    headers: dict[str, str] = field(init=False)
    """Header names in lower case."""

    def __post_init__(self) -> None:
        lines = self.request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        self._line = lines[0].split(" ")
        pairs = (line.partition(":") for line in lines[1:])
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def method(self) -> str:
        return self._line[0]

    @property
    def target(self) -> str:
        return self._line[1] if len(self._line) > 1 else ""

    @property
    def body(self) -> bytes:
        return self.request.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        """The status the cloud answered; 0 for none."""
        words = self.answer.split(b" ", 2)
        return int(words[1]) if len(words) > 1 else 0

    @property
    def answer_body(self) -> bytes:
        return self.answer.partition(b"\r\n\r\n")[2]


def response(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of an HTTP answer that no cloud gave."""
    lines = [f"HTTP/1.1 {status} Canned", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def lost_answer() -> Fault:
    """The cloud takes the request and commits; its answer never arrives."""
    return Fault("lost answer", answer_bytes=0, reset=True)


def lost_request(after_bytes: int = 0) -> Fault:
    """The line breaks before the whole request is through."""
    return Fault("lost request", request_bytes=after_bytes, reset=True)


def doubled_request() -> Fault:
    """The cloud gets the same bytes twice; the station gets the second answer."""
    return Fault("doubled request", times=2)


def doubled_answer() -> Fault:
    """The station gets the answer twice: the copy meets its next request on the same connection."""
    return Fault("doubled answer", answer=lambda answer: answer + answer)


def truncated_answer(bytes_left: int) -> Fault:
    return Fault("truncated answer", answer_bytes=bytes_left, close=True)


def delayed_answer(seconds: float) -> Fault:
    return Fault("delayed answer", delay_answer_s=seconds)


def canned(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, *, name: str = "") -> Fault:
    """Someone in between answers; the cloud never sees the request."""
    return Fault(name or f"canned {status}", forward=False, answer=response(status, body, headers))


def garbage(data: bytes = b"\x00\xff\x16\x03garbage\r\n") -> Fault:
    """Bytes that are no HTTP at all."""
    return Fault("garbage", forward=False, answer=data, close=True)
