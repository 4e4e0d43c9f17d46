"""What the services show of themselves, between several users: who looks must never be in the services' way."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aquasmart_station.adapters.durable_files import make_shared
from aquasmart_station.adapters.live import LiveBoard, read_service, why_unread
from aquasmart_station.adapters.log_file import lock
from aquasmart_station.adapters.ops import OpsFile
from aquasmart_station.core.showing import MeterState, ServiceState
from aquasmart_station.services.report import nothing_shown
from aquasmart_station.services.telling import TellingDisplay

GROUP, SERVICE, TECHNICIAN = 64_242, 64_243, 64_244
SHARED_BYTES = (510, 0x40000002)
"""How many, from where: https://www.sqlite.org/c3ref/io_methods.html and os.h."""
SHOWN = ServiceState("running", "counts", {}, 1, 1)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder as /run/aquasmart is: the services', and open to their group."""
    with tempfile.TemporaryDirectory(prefix="aquasmart-shared-") as name:
        outer = Path(name)
        outer.chmod(0o755)
        folder = outer / "run"
        folder.mkdir()
        os.chown(folder, SERVICE, GROUP)
        folder.chmod(0o2770)
        yield folder


def told_by(user: int, umask: int, what: Callable[[], object]) -> str:
    """What a function gives in a process of that user and the services' group, in words."""
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(GROUP, GROUP, GROUP)
            os.setresuid(user, user, user)
            os.umask(umask)
            said = repr(what())
        except BaseException as fault:  # a child of a test ends here, whatever happens
            said = repr(fault)
        os.write(here, said.encode())
        os._exit(0)
    os.close(here)
    with os.fdopen(there, "rb") as pipe:
        said_bytes = pipe.read()
    os.waitpid(child, 0)
    return said_bytes.decode()


def show(path: Path) -> tuple[bool, str]:
    board = LiveBoard(path)
    try:
        return board.show("reader_state", SHOWN), board.fault
    finally:
        board.close()


@pytest.mark.needs("root")
def test_a_technician_who_looks_between_two_lives_of_a_service_does_not_shut_it_out(shared: Path) -> None:
    """SQLite's -shm is made by whoever opens first, with the database's rights: without the group's it was the
    technician's alone, and the services showed nothing until the next boot."""
    live = shared / "live.db"
    show(live)  # in this process, so that what is imported late is there
    live.unlink()
    assert told_by(SERVICE, 0o007, lambda: show(live)) == repr((True, ""))
    looked = told_by(TECHNICIAN, 0o022, lambda: read_service(live, "reader_state"))
    assert "'running'" in looked
    left = live.with_name("live.db-shm")
    assert left.stat().st_uid == TECHNICIAN, "the case this test is for: the one who looked has made it"
    assert told_by(SERVICE, 0o007, lambda: show(live)) == repr((True, ""))


@pytest.mark.needs("root")
def test_a_file_of_an_earlier_release_gets_the_groups_right(shared: Path) -> None:
    live = shared / "live.db"
    show(live)
    live.chmod(0o640)
    os.chown(live, SERVICE, GROUP)
    assert told_by(SERVICE, 0o007, lambda: show(live)) == repr((True, ""))
    assert stat.S_IMODE(live.stat().st_mode) == 0o660


def refused_chown(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.needs("root")
def test_roots_sandboxed_service_needs_no_chown(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`SystemCallFilter=~@privileged` refuses the call whatever it would do: the update agent never started."""
    monkeypatch.setattr(os, "chown", refused_chown)
    os.close(lock(tmp_path / "update.lock", exclusive=True))
    before = os.umask(0o077)
    try:
        make_shared(shared / "ops.db")
    finally:
        os.umask(before)
    made = (shared / "ops.db").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (0, GROUP, 0o660)


def locked_by_others(path: Path) -> bool:
    """Whether a process other than this one's child holds SQLite's SHARED lock on a database."""
    child = os.fork()
    if child == 0:
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, *SHARED_BYTES)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_the_rights_are_set_without_losing_a_lock_that_this_process_holds(tmp_path: Path) -> None:
    """POSIX gives up a process's locks on a file when any descriptor of it is closed; without this one SQLite takes the
    next connection that closes for the last, and removes -wal and -shm under the others."""
    tmp_path.chmod(0o2770)
    first, second = OpsFile(tmp_path / "ops.db"), OpsFile(tmp_path / "ops.db")
    with first.reading() as connection:
        connection.execute("SELECT count(*) FROM fence").fetchall()
        assert locked_by_others(tmp_path / "ops.db")
        (tmp_path / "ops.db").chmod(0o640)
        with second.reading() as other:
            other.execute("SELECT count(*) FROM fence").fetchall()
        assert locked_by_others(tmp_path / "ops.db")
    assert stat.S_IMODE((tmp_path / "ops.db").stat().st_mode) == 0o660
    first.close()
    second.close()
    assert not locked_by_others(tmp_path / "ops.db")


class Lines:
    """A chronicle that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[int, str, object]] = []

    def say(self, priority: int, message: str, fields: object) -> None:
        self.said.append((priority, message, fields))


def test_a_display_that_stays_dark_is_told_once_with_its_reason_and_once_when_it_is_back(tmp_path: Path) -> None:
    live = tmp_path / "live.db"
    live.write_bytes(b"no database at all, and long enough to be looked at as if it were one" * 40)
    lines = Lines()
    display = TellingDisplay(LiveBoard(live), lines, "reader")
    meters: list[MeterState] = []
    assert [display.show("reader_state", SHOWN, meters) for _ in range(3)] == [False] * 3
    dark = [message for _, message, _ in lines.said if "cannot be shown" in message]
    assert dark == ["what this service does cannot be shown (aquasmart status, panel): file is not a database"]
    assert why_unread(live, "reader_state") == "file is not a database"
    assert nothing_shown(live, "reader_state") == f"what it shows cannot be read: {live}: file is not a database"
    live.unlink()
    assert display.show("reader_state", SHOWN, meters)
    assert lines.said[-1][:2] == (6, "what this service does is shown again")
    assert why_unread(live, "reader_state") == ""
    assert nothing_shown(tmp_path / "none.db", "reader_state") == "has not run since the machine started"
