"""`make run` and `make outage`, as a visitor uses them: the real program, from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path

import pytest

from demo.site import REPOSITORY
from tests.fakes.ports import free_port
from tests.integration.world import eventually

pytestmark = pytest.mark.e2e


class Run:
    """One `make run` without a terminal."""

    def __init__(self, state: Path, port: int) -> None:
        self.state, self.port = state, port
        where = next(folder for folder in state.parents if folder.is_dir())
        self._output = where / f"run-{port}-{len(list(where.glob('run-*')))}.txt"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo.run", "--state", str(state), "--port", str(port)],
                cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self._output.read_text()

    def await_words(self, pattern: str) -> str:
        found = eventually(lambda: re.search(pattern, self.said) or self._ended(), f"{pattern} in its output")
        assert found is not True, self.said
        return str(found[0])

    def _ended(self) -> bool:
        return self.process.poll() is not None and not re.search(r"^Stopped", self.said, re.MULTILINE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def leftovers(self) -> list[str]:
        """Processes that still work on this state folder."""
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        return [line for line in listed.splitlines() if str(self.state) in line]

    def pid(self, name: str) -> int:
        return int((self.state / "pids" / name).read_text().split()[1])

    def totals_ul(self) -> int:
        return int(re.findall(r"cloud ([\d,]+\.\d{6}) L", self.said)[-1].replace(",", "").replace(".", ""))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.fixture
def runs(state: Path) -> Iterator[list[Run]]:
    """Every run that the test starts; what is left of them is ended."""
    runs: list[Run] = []
    yield runs
    for run in runs:
        if run.process.poll() is None:
            run.stop()
    assert [line for run in runs for line in run.leftovers()] == []


def outage(state: Path, verb: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo.outage", "--state", str(state), verb],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def start(runs: list[Run], state: Path, port: int | None = None) -> Run:
    runs.append(Run(state, port or free_port()))
    return runs[-1]


def statuses(port: int, paths: Sequence[str]) -> list[tuple[int, str | None]]:
    """Status and new place of each path, with the cookies that the answers before it have set."""
    found, cookie = [], ""
    for path in paths:
        line = HTTPConnection("127.0.0.1", port, timeout=10)
        line.request("GET", path, headers={"Cookie": cookie})
        answer = line.getresponse()
        cookie = (answer.getheader("Set-Cookie") or cookie).partition(";")[0]
        found.append((answer.status, answer.getheader("Location")))
        line.close()
    return found


def test_a_visitor_sees_an_outage_come_and_go_stops_and_resumes(runs: list[Run], state: Path) -> None:
    first = start(runs, state)
    link = first.await_words(r"http://127\.0\.0\.1:\d+/sign-in/\S+")
    path = link.partition(str(first.port))[2]
    assert statuses(first.port, ["/", path, "/"]) == [(303, "/sign-in"), (303, "/"), (200, None)]
    assert statuses(first.port, [path]) == [(410, None)], "the link works once"
    first.await_words(r"cloud 0\.[1-9]")

    assert outage(state, "cut").returncode == 0
    first.await_words(r"network cut")
    first.await_words(r"L wait on the station")
    assert outage(state, "restore").returncode == 0
    first.await_words(r"network restored")
    first.await_words(r"books balance exactly")

    second = subprocess.run(
        [sys.executable, "-m", "demo.run", "--state", str(state), "--port", str(free_port())],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (second.returncode, "is using" in second.stderr) == (1, True)

    assert first.stop(signal.SIGINT) == 0
    assert first.leftovers() == []
    delivered_ul = first.totals_ul()
    assert delivered_ul > 0
    resumed = start(runs, state)
    resumed.await_words(r"Resuming")
    resumed.await_words(r"in balance")
    assert resumed.totals_ul() >= delivered_ul
    assert resumed.stop() == 0
    status = json.loads(
        subprocess.run(
            [Path(sys.executable).parent / "aquasmart", "--config", state / "station.toml", "status", "--json"],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    assert status["log_ul"] >= delivered_ul


def test_what_was_killed_is_started_again_what_ends_by_itself_ends_the_run(runs: list[Run], state: Path) -> None:
    run = start(runs, state)
    run.await_words(r"cloud 0\.[1-9]")
    for name in ("reader", "sync", "cloud"):
        os.kill(run.pid(name), signal.SIGKILL)
        run.await_words(rf"{name} was killed \(SIGKILL\)")
    run.await_words(r"(?s)cloud was killed.*in balance to the microlitre")
    os.kill(run.pid("sync"), signal.SIGTERM)
    assert run.process.wait(60) == 1
    assert "sync ended by itself with exit status 0. Its last words:" in run.said


def test_a_run_that_was_killed_is_cleared_away_by_the_next(runs: list[Run], state: Path) -> None:
    port = free_port()
    killed = start(runs, state, port)
    killed.await_words(r"sync online")
    killed.process.kill()
    killed.process.wait()
    assert outage(state, "cut").returncode == 1, "nothing supervises any more"
    again = start(runs, state, port)
    again.await_words(r"sync online")
    assert again.stop() == 0
    assert again.leftovers() == []


def test_it_says_why_it_cannot_start(tmp_path: Path, state: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = Run(state, port)
        assert run.process.wait(60) == 1
    assert f"Port {port} is taken" in run.said
    unusable = tmp_path / "file"
    unusable.write_text("")
    run = Run(unusable / "var", free_port())
    assert run.process.wait(60) == 1
    assert "Cannot use" in run.said
    nothing = outage(tmp_path / "nowhere", "cut")
    assert (nothing.returncode, "make run" in nothing.stderr) == (1, True)
