"""Bad requests over a real socket to the real server: problem documents, nothing stored, nothing crashed.

The contract's verdicts again, signed for now with a station's real key, and what only a socket can do wrong.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract import reference as ref
from tests.contract.messages import batch
from tests.contract.vectors import load
from tests.integration.wire import Answer, Message, send
from tests.integration.world import World

pytestmark = pytest.mark.e2e
MIB = 1 << 20
BY_CLOCK_OR_KEY = {"bad-signature", "clock-skew", "revoked", "retired"}


@pytest.fixture
def world(make_world: Callable[..., World]) -> Iterator[World]:
    world = make_world()
    world.start("cloud")
    yield world
    assert world.site.alive("cloud")
    assert world.cloud.integrity() == "ok"


def _message(given: dict[str, Any]) -> Message:
    line = f"{given['method']} {given['target']} HTTP/1.1"
    headers = tuple((name, value) for name, value in given["headers"])
    return Message(line, (("Host", "cloud"), *headers), ref.body_of(given["body"]))


def _refused() -> list[dict[str, Any]]:
    cases = [case for case in load("verdicts")["cases"] if "refused" in case["flags"]]
    return [case for case in cases if case["expected"]["code"] not in BY_CLOCK_OR_KEY]


def test_every_refusal_of_the_contract_over_the_wire(world: World) -> None:
    pid, key = world.site.pid("cloud"), world.key()
    wrong = []
    for case in _refused():
        message = _message(case["input"]).signed(key)
        answer, expected = send(world.site.cloud_port, message), case["expected"]
        said = (answer.status, answer.document().get("code"), _is_signed(key, message, answer))
        if said != (expected["status"], expected["code"], expected["signed"]):
            wrong.append((case["name"], said, expected))
    assert wrong == []
    assert (world.cloud.events(), world.cloud.marks(), world.cloud.batches()) == (0, {}, [])
    assert world.site.pid("cloud") == pid
    good = _message({**_refused()[0]["input"], "target": "/v1/ingest", "body": ref.canonical(batch())})
    assert send(world.site.cloud_port, good.signed(key)).status == 200
    assert world.cloud.events() == 3


def _is_signed(key: bytes, message: Message, answer: Answer) -> bool:
    signature = answer.headers.get("x-signature")
    if signature is None:
        return False
    string = ref.reply_string(answer.headers["x-timestamp"], answer.status, message.header("x-signature"), answer.body)
    return signature == ref.signature(key, string)


def _raw(world: World, data: bytes, *, then_close: bool = False) -> Answer:
    """Send bytes as they are; the answer, or status 0 where the server only closed."""
    with socket.create_connection(("127.0.0.1", world.site.cloud_port), 20) as line:
        line.settimeout(20)
        received = b""
        try:
            line.sendall(data)
            if then_close:
                line.shutdown(socket.SHUT_WR)
            while piece := line.recv(65_536):
                received += piece
        except OSError:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    return Answer(int(head.split(b" ")[1]) if head else 0, {}, body)


def _signed_batch(world: World) -> Message:
    headers = (("Host", "cloud"), ("X-Station-Id", "demo-1"), ("X-Key-Id", "k1"), ("Connection", "close"))
    message = Message("POST /v1/ingest HTTP/1.1", headers, ref.canonical(batch()).encode())
    return message.signed(world.key())


def test_what_only_a_socket_can_do_wrong(world: World) -> None:
    good = _signed_batch(world)
    raw = good.raw()
    length = f"Content-Length: {len(good.body)}".encode()
    chunked = raw.partition(b"\r\n\r\n")[0].replace(length, b"Transfer-Encoding: chunked") + b"\r\n\r\n"
    answers = {
        "a body that ends early": _raw(world, raw[:-10], then_close=True),
        "two lengths": _raw(world, raw.replace(length, length + b"\r\nContent-Length: 5")),
        "a length that is none": _raw(world, raw.replace(length, b"Content-Length: ten")),
        "a length below zero": _raw(world, raw.replace(length, b"Content-Length: -1")),
        "chunks without end": _raw(world, chunked + b"5\r\nhello\r\n", then_close=True),
        "chunks that are none": _raw(world, chunked + b"zz\r\nhello\r\n0\r\n\r\n", then_close=True),
        "9 MiB in chunks": _raw(world, chunked + b"900000\r\n" + bytes(9 * MIB) + b"\r\n0\r\n\r\n"),
        "a declared gigabyte": _raw(world, raw.replace(length, b"Content-Length: 1073741824"), then_close=True),
        "a header of 100 kB": _raw(world, raw.replace(b"Host: cloud", b"Host: " + b"c" * 100_000)),
        "no HTTP": _raw(world, b"\x16\x03\x01\x02\x00hello\r\n\r\n", then_close=True),
    }
    for what, answer in answers.items():
        assert answer.status == 0 or 400 <= answer.status < 500, (what, answer)
    assert answers["a declared gigabyte"].status == 413
    assert answers["9 MiB in chunks"].status == 413
    assert (world.cloud.events(), world.cloud.batches()) == (0, [])
    assert send(world.site.cloud_port, good).status == 200


def test_other_methods_and_addresses_say_so(world: World) -> None:
    good = _signed_batch(world)
    for target, status in (("/v1/nothing", 404), ("/v1/ingest/", 404), ("/v1/operations/x", 404)):
        assert send(world.site.cloud_port, good.to(target).signed(world.key())).status == status
        assert send(world.site.cloud_port, good.to(target)).status == 401
    put = Message("PUT /v1/ingest HTTP/1.1", good.headers, good.body).signed(world.key())
    answer = send(world.site.cloud_port, put)
    assert answer.status == 405
    assert json.loads(answer.body)["status"] == 405
    assert (world.cloud.events(), world.cloud.batches()) == (0, [])
