"""What a running station shows of itself: metrics while it delivers and while it cannot, thrift on links and power."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aquasmart_station.adapters.live import LiveBoard
from aquasmart_station.core.showing import ServiceState
from tests.integration.wire import Message
from tests.integration.world import World, eventually
from tests.prometheus import Found, parse

pytestmark = pytest.mark.e2e
MakeWorld = Callable[..., World]

WANTED = {
    "aquasmart_sync_pending_events",
    "aquasmart_sync_pending_age_p50_seconds",
    "aquasmart_sync_pending_age_p99_seconds",
    "aquasmart_sync_processed_total",
    "aquasmart_sync_succeeded_total",
    "aquasmart_sync_failed_total",
    "aquasmart_sync_process_seconds",
    "aquasmart_sync_retries_total",
    "aquasmart_sync_backoff_seconds",
    "aquasmart_sync_retry_after_total",
    "aquasmart_sync_errors_total",
    "aquasmart_sync_lease_active",
    "aquasmart_sync_takeovers_total",
    "aquasmart_process_resident_memory_bytes",
    "aquasmart_process_cpu_seconds_total",
    "aquasmart_sync_attempts",
    "aquasmart_sync_idempotency_hits_total",
    "aquasmart_link_radio_seconds_total",
    "aquasmart_link_requests_total",
}
"""The names of the specification, as ours are called."""


def scraped(world: World) -> dict[str, Found]:
    return parse(world.site.station("metrics"))


def test_every_figure_of_the_specification_while_it_delivers(make_world: MakeWorld) -> None:
    world = make_world(execed=True)
    world.start()
    world.await_flow(20)
    world.await_delivered()
    found = eventually(
        lambda: (page := scraped(world)) and page.get("aquasmart_sync_process_seconds") and page, "sync's figures"
    )
    assert found.keys() >= WANTED
    assert found["aquasmart_sync_state"].value(state="online") == 1
    assert found["aquasmart_sync_lease_active"].value() == 1
    assert found["aquasmart_sync_takeovers_total"].value() == 1
    assert found["aquasmart_sync_succeeded_total"].value() >= 1
    assert found["aquasmart_sync_process_seconds"].value(quantile="0.99") > 0
    assert found["aquasmart_sync_attempts"].value(quantile="0.5") >= 1
    for service in ("reader", "sync"):
        resident = found["aquasmart_process_resident_memory_bytes"].value(service=service)
        pid = world.site.pid(service)
        kernel = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        assert abs(resident - kernel) < 4 << 20
        assert found["aquasmart_process_cpu_seconds_total"].value(service=service) > 0
    assert found["aquasmart_link_requests_total"].value(lane="heartbeat") >= 1
    assert 0 < found["aquasmart_link_radio_seconds_total"].value() < 600
    assert found["aquasmart_meter_ok"].value(meter="tap-1") == 1
    world.site.station("operations", "add", "service_visit", "technician=Ada", "note=filter", "visited_at_ms=1")
    done = eventually(lambda: scraped(world)["aquasmart_operations"].value(state="done") == 1, "the visit is told")
    assert done
    assert scraped(world)["aquasmart_operations"].value(state="pending") == 0


def test_what_a_bad_network_costs_is_counted(make_world: MakeWorld) -> None:
    world = make_world(execed=True)
    world.relay.set_state("cut")
    world.start()
    world.await_flow(20)

    def failures() -> dict[str, Found] | None:
        page = scraped(world)
        errors = page.get("aquasmart_sync_errors_total")
        return page if errors and errors.value(**{"class": "no-answer"}) >= 3 else None

    page = eventually(failures, "three requests without an answer")
    assert page["aquasmart_sync_retries_total"].value() >= 2
    assert page["aquasmart_sync_failed_total"].value() >= 3
    assert page["aquasmart_sync_pending_events"].value() >= 20
    ages = [page[f"aquasmart_sync_pending_age_{name}_seconds"].value() for name in ("p50", "p99", "max")]
    assert 0 < ages[0] <= ages[1] <= ages[2] < 600
    backoff = page["aquasmart_sync_backoff_seconds"].samples
    assert backoff[("aquasmart_sync_backoff_seconds_count", ())] >= 3
    world.relay.set_state("pass")
    world.await_delivered()
    page = eventually(
        lambda: (now := scraped(world))["aquasmart_sync_succeeded_total"].value() >= 1 and now, "one is counted"
    )
    attempts = page["aquasmart_sync_attempts"].samples
    assert attempts[("aquasmart_sync_attempts", (("quantile", "0.99"),))] >= 3
    assert page["aquasmart_sync_state"].value(state="online") == 1


def test_a_station_that_does_not_run_says_so(make_world: MakeWorld) -> None:
    world = make_world(execed=True)
    world.start()
    world.await_flow(5)
    # Asked to stop before it has begun, it has shown nothing that could be looked at afterwards.
    eventually(lambda: scraped(world)["aquasmart_sync_state"].value(state="online") == 1, "sync shows itself")
    world.site.stop("sync")
    world.site.kill("reader")
    page = scraped(world)
    assert page["aquasmart_sync_lease_active"].value() == 0
    assert page["aquasmart_sync_state"].value(state="stopped") == 1
    assert page["aquasmart_reader_running"].value() == 0
    assert "aquasmart_process_resident_memory_bytes" not in page


def test_metrics_as_json_and_into_a_collectors_file(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(execed=True)
    world.start()
    world.await_flow(5)
    document = json.loads(world.site.station("metrics", "--json"))
    assert document["aquasmart_sync_pending_events"]["type"] == "gauge"
    collected = tmp_path / "collector" / "aquasmart.prom"
    collected.parent.mkdir()
    world.site.station("metrics", "--output", str(collected))
    assert parse(collected.read_text()).keys() >= {"aquasmart_sync_pending_events"}
    assert [path.name for path in collected.parent.iterdir()] == ["aquasmart.prom"]


@pytest.mark.needs("promtool")
def test_prometheus_own_checker_has_nothing_to_say(make_world: MakeWorld) -> None:
    world = make_world(execed=True)
    world.start()
    world.await_flow(20)
    world.await_delivered()
    eventually(lambda: "aquasmart_sync_process_seconds" in scraped(world), "sync's figures")
    program = shutil.which("promtool")
    assert program
    text = world.site.station("metrics")
    done = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_metered_link_is_not_used_beyond_its_allowance(make_world: MakeWorld) -> None:
    """10 kB an hour with a burst of 12 kB: about a dozen requests, then it waits and says why; nothing is lost."""
    changes = {"sync": {"linger_s": 0, "heartbeat_s": 3_600, "bytes_per_hour": 10_000, "burst_bytes": 12_000}}
    world = make_world(execed=True, overrides=changes)
    world.start()
    world.await_flow(5)
    eventually(lambda: "allowance" in world.site.status()["sync"]["text"], "sync waits for its allowance")
    sent = len(world.ingests())
    body_bytes = sum(len(exchange.request) for exchange in world.ingests())
    assert 3 <= sent <= 14
    assert body_bytes < 14_000
    have = world.log.events()
    eventually(lambda: world.log.events() >= have + 20, "the reader goes on counting")
    assert len(world.ingests()) <= sent + 1
    assert world.log.pending() > 0


def test_low_supply_makes_sync_linger_four_times_as_long(make_world: MakeWorld) -> None:
    """The reader's place in live.db says rail-low; batches become fewer, each with more in it."""
    world = make_world(execed=True, overrides={"sync": {"linger_s": 1.5, "heartbeat_s": 3_600}})
    world.start("cloud", "meter:tap-1", "reader")
    world.await_flow(5)
    world.site.start("sync")
    live = LiveBoard(world.site.root / "run" / "live.db")

    def say(conditions: list[str]) -> None:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        figures = {"degraded": conditions}
        live.show(
            "reader_state", ServiceState("running", "", figures, now_ns // 1_000_000, time.time_ns() // 1_000_000)
        )

    def told(saving: bool) -> bool:
        say(["rail-low"] if saving else [])
        return world.site.status()["sync"].get("saving_power") is saving

    eventually(lambda: told(saving=True), "sync saves power", every_s=0.02)
    assert "saving power" in world.site.status()["sync"]["text"]
    eventually(lambda: told(saving=False), "sync is itself again", every_s=0.02)
    live.close()


def test_what_trickles_in_waits_for_company(make_world: MakeWorld) -> None:
    """Ten commits a second and a linger of two seconds: no commit has a request of its own."""
    world = make_world(
        execed=True, overrides={"reader": {"commit_interval_s": 0.1}, "sync": {"linger_s": 2, "heartbeat_s": 3_600}}
    )
    world.start()
    world.await_flow(5)
    world.await_delivered()
    have = len(world.ingests())
    eventually(lambda: len(world.ingests()) >= have + 4, "four more batches")
    carried = [len(Message.parse(exchange.request).document()["counts"]) for exchange in world.ingests()[have:]]
    assert sorted(carried)[len(carried) // 2] >= 10, carried
