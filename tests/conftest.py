"""For every test: a missing capability skips what needs it, with its remedy, or fails if all is required."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests import order
from tests.capabilities import PREFIX, REQUIRE_ALL, everything_required, missing
from tests.fakes import wall_clock

# A shell that starts us in the background ignores Ctrl-C for us and for all that we start; tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine. Health checks that measure time go for the same reason.
hypothesis.settings.register_profile(
    "aquasmart", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("aquasmart")

# Whatever language the person has who runs the tests: they look for English, and ask for another where they want one.
os.environ["LANGUAGE"] = "en"

if TYPE_CHECKING:
    from tests.fakes.postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test process. Ask for it where `needs("postgresql")` is marked."""
    from tests.fakes.postgres import Postgres

    server = Postgres()
    try:
        server.make()
        yield server
    finally:
        server.destroy()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A misspelt capability must not silently skip, or run, a test. The longest files begin."""
    order.longest_first(items)
    for item in items:
        try:
            _why_not(item)
        except KeyError as error:
            raise pytest.UsageError(f"{item.nodeid} needs an unknown capability {error}") from None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = _why_not(item)
    if reason and everything_required():
        pytest.fail(f"{REQUIRE_ALL}=all, but {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


def _why_not(item: pytest.Item) -> str | None:
    names = tuple(name for mark in item.iter_markers("needs") for name in mark.args)
    return missing(names)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        wall_clock.sweep()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests counted (`record_property("counted", …)`), and which capabilities were missing, at what cost."""
    if not hasattr(terminalreporter.config, "workerinput"):
        reports = [report for kind in terminalreporter.stats.values() for report in kind]
        order.record(report for report in reports if isinstance(report, pytest.TestReport))
    passed = terminalreporter.stats.get("passed", [])
    said = [text for report in passed for name, text in report.user_properties if name == "counted"]
    if said:
        terminalreporter.section("counted")
        for line in said:
            terminalreporter.write_line(str(line))
    counted: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        text = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if PREFIX in text:
            reason = text.partition(PREFIX)[2]
            counted[reason] = counted.get(reason, 0) + 1
    if counted:
        terminalreporter.section("not tested on this machine")
        for reason, tests in sorted(counted.items()):
            terminalreporter.write_line(f"{tests} test{'s' if tests != 1 else ''}: {reason}")
