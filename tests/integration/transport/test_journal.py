"""What the services say to the journal: through a real socket, field by field, and never a key or a payload."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from aquasmart_station.adapters.journal import LONGEST_VALUE, Journal
from tests.integration.world import World, eventually

MakeWorld = Callable[..., World]


def entry_of(datagram: bytes) -> dict[str, str]:
    """A datagram as its fields, by the description of the native protocol."""
    fields: dict[str, str] = {}
    rest = datagram
    while rest:
        line, _, after = rest.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(after[:8], "little")
            value, after = after[8 : 8 + size], after[8 + size :]
            assert after[:1] == b"\n"
            after = after[1:]
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]*", name), name
        fields[name.decode()] = value.decode()
        rest = after
    return fields


class Listener:
    """The journal's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.path, self.raw = path, b""
        self._entries: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    @property
    def entries(self) -> list[dict[str, str]]:
        while True:
            try:
                datagram = self._socket.recv(1 << 20)
            except BlockingIOError:
                return self._entries
            self.raw += datagram
            self._entries.append(entry_of(datagram))

    def states(self, service: str) -> list[str]:
        return [
            entry["AQUASMART_STATE"]
            for entry in self.entries
            if entry["AQUASMART_SERVICE"] == service
            and "AQUASMART_STATE" in entry
            and "AQUASMART_METER_ID" not in entry
        ]


@pytest.fixture
def journal() -> Iterator[Listener]:
    folder = Path(tempfile.mkdtemp(prefix="aqj-"))
    (folder / "systemd" / "journal").mkdir(parents=True)
    listener = Listener(folder / "systemd" / "journal" / "socket")
    yield listener
    listener.close()
    shutil.rmtree(folder)


def test_fields_arrive_as_they_were_meant(journal: Listener) -> None:
    with closing(Journal("aquasmart-sync", journal.path)) as writer:
        writer.say(4, "two\nlines", {"state": "offline", "trace_id": "", "pending": 3})
    assert journal.entries == [
        {
            "MESSAGE": "two\nlines",
            "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "aquasmart-sync",
            "AQUASMART_STATE": "offline",
            "AQUASMART_PENDING": "3",
        }
    ]


def test_a_line_break_cannot_forge_a_field_and_a_page_is_cut(journal: Listener) -> None:
    with closing(Journal("x", journal.path)) as writer:
        writer.say(6, "a", {"reason": "b\nPRIORITY=0", "detail": "µ" * 100_000})
    (entry,) = journal.entries
    assert entry["PRIORITY"] == "6"
    assert entry["AQUASMART_REASON"] == "b\nPRIORITY=0"
    assert entry["AQUASMART_DETAIL"] == "µ" * LONGEST_VALUE


def test_without_a_journal_lines_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Journal("x", tmp_path / "none").say(6, "sync\nonline", {"trace_id": "ab12"})
    assert capsys.readouterr().err == "sync online trace=ab12\n"


def test_a_journal_that_is_full_or_gone_holds_nobody_up(journal: Listener, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody reads: the socket's queue fills, and the rest goes to stderr instead of waiting."""
    writer = Journal("x", journal.path)
    for number in range(5_000):
        writer.say(6, f"line {number}", {"reason": "x" * 500})
    assert "line 4999" in capsys.readouterr().err
    journal.close()
    journal.path.unlink()
    writer.say(6, "gone", {})
    assert "gone" in capsys.readouterr().err
    writer.close()


@pytest.mark.e2e
@pytest.mark.needs("mount-namespace")
def test_a_life_of_both_services_has_a_line_for_each_change_and_no_secret(
    make_world: MakeWorld, journal: Listener
) -> None:
    """Online, cut off, online again, a portal, stopped: so many lines, whatever number of batches went meanwhile."""
    world = make_world()
    run = journal.path.parents[2]
    wrapper = ["unshare", "--mount", "sh", "-c", f'mount --bind {run} /run && exec "$@"', "sh"]
    world.site.wrappers = {"reader": wrapper, "sync": wrapper}
    world.start()
    world.await_flow(30)
    eventually(lambda: journal.states("sync")[-1:] == ["online"], "sync says that it is online")
    world.relay.set_state("cut")
    eventually(lambda: journal.states("sync")[-1:] == ["offline"], "sync says that it is offline")
    world.relay.set_state("pass")
    eventually(lambda: journal.states("sync")[-1:] == ["online"], "sync says that it is online again")
    eventually(lambda: len(world.ingests()) > 30, "many batches")
    batches = len(world.ingests())
    world.site.stop("meter:tap-1")
    eventually(lambda: any("link-down" in entry["MESSAGE"] for entry in journal.entries), "the reader misses its meter")
    world.site.stop("reader")
    world.site.stop("sync")
    states = journal.states("sync")
    assert states[-1] == "stopped"
    assert all(one != next_one for one, next_one in pairwise(states)), states
    assert len(states) < batches / 3, states
    assert journal.states("reader")[-1] == "stopped"
    offline = next(entry for entry in journal.entries if entry.get("AQUASMART_STATE") == "offline")
    assert re.fullmatch(r"[0-9a-f]{32}", offline["AQUASMART_TRACE_ID"])
    assert offline["PRIORITY"] == "5"
    assert offline["SYSLOG_IDENTIFIER"] == "aquasmart-sync"
    _no_secret(journal.raw, world)


def _no_secret(raw: bytes, world: World) -> None:
    """Neither key nor signature nor body, in whatever form a careless line might have held it."""
    key = world.key()
    for secret in (key, key.hex().encode(), repr(key)[2:-1].encode()):
        assert secret not in raw
    assert b"v1=" not in raw
    for word in (b"first_seq", b"counts_before", b'"dt"', b"\x1f\x8b", b"hmac", b"X-Signature"):
        assert word not in raw
    for exchange in world.ingests():
        assert exchange.request.partition(b"\r\n\r\n")[2] not in raw
