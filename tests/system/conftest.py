"""Stations installed from the package, under real systemd, with a real cloud; the report of what they went through."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import pytest

from demo.site import REPOSITORY
from tests.system import report
from tests.system.machines import Cable, Container
from tests.system.rootfs import PYTHON_OF, copy_of, debian, layered, release_name
from tests.system.station import READER, SYNC, AnyCloud, Cloud, Station

MakeStation = Callable[..., Station]
_numbers = count(1)
_STEADY_TIMES = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}


def build_deb(package: str, out: Path, *words: str) -> Path:
    """A package out of the working tree, as `make deb` makes it. Its times are no commit's: one may come in between."""
    command = [sys.executable, "-m", "deploy.deb.build", package, "--out", str(out), *words]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=_STEADY_TIMES)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def built_once(factory: pytest.TempPathFactory, package: str, *words: str) -> Path:
    """The same, once for all processes of this test run: the cloud's takes half a minute and the network."""
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "-".join(["deb", package, *words])
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found := next(shared.glob("*.deb"), None)):
            made = build_deb(package, shared / "new", *words)
            # In place only when it is whole: whoever made it may have been ended.
            found = made.rename(shared / made.name)
    return found


@pytest.fixture(scope="session")
def station_deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory, "station")


@pytest.fixture(scope="session")
def cloud_deb_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The cloud's package for a release of Debian, by its name."""
    return lambda release: built_once(tmp_path_factory, "cloud", "--python", PYTHON_OF[release])


@pytest.fixture(scope="session")
def cloud_deb(cloud_deb_for: Callable[[str], Path]) -> Path:
    return cloud_deb_for(release_name())


@pytest.fixture(scope="session")
def installed(station_deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Debian with the station's package, as in an image: installed where no systemd runs."""
    root = copy_of(debian(), tmp_path_factory.mktemp("image") / "root")
    shutil.copy(station_deb, root / "station.deb")
    done = subprocess.run(["chroot", str(root), "dpkg", "-i", "/station.deb"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (root / "station.deb").unlink()
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("cloud"))
    yield made
    made.close()


@pytest.fixture
def make_station(
    installed: Path, cloud: Cloud, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[MakeStation]:
    """Makes provisioned stations, not yet booted, each on a network of its own, by a cable in `station.cable`."""
    made: list[Station] = []
    with ExitStack() as stack:

        def make(root: Path = installed, *, provisioned: bool = True, cloud: AnyCloud = cloud) -> Station:
            number = next(_numbers)
            # Names and addresses differ between tests that run side by side; an interface's name has 15 letters.
            worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
            name = f"aq{os.getpid() % 100_000}n{number}"
            cable = Cable(name, worker * 40 + number % 40)
            stack.callback(cable.remove)
            cable.lay()
            folder = stack.enter_context(layered(root, tmp_path / name))
            machine = Container(folder, name, cable, tmp_path / f"{name}.console")
            stack.callback(machine.destroy)
            station = Station(machine, cloud, name)
            station.cable = cable
            if provisioned:
                station.provision(cable.host_address)
            made.append(station)
            return station

        yield make
        if request.node.stash.get(report.FAILED, default=False):
            for station in made:
                with suppress(AssertionError):  # a machine that is off
                    print(station.tails())


@pytest.fixture
def station(make_station: MakeStation) -> Station:
    """A booted station whose water flows, with everything up."""
    made = make_station()
    made.machine.boot()
    made.await_up(READER, SYNC)
    made.begin()
    return made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a session waits for its Debian, which may have to be made: more patience than elsewhere."""
    for item in items:
        if "tests/system" in item.nodeid:
            item.add_marker(pytest.mark.timeout(900))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    made = yield
    if made.when == "call" and made.failed:
        item.stash[report.FAILED] = True
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """`build/system-report.md`, from what tests noted with `report.note`."""
    passed, failed, broken = (terminalreporter.stats.get(word, []) for word in ("passed", "failed", "error"))
    if path := report.write(passed, [*failed, *broken]):
        terminalreporter.write_line(f"system report: {path}")
