"""`aquasmart doctor` on real stations with something wrong: what it finds, what it says to do, how it exits."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.site import program
from tests.integration.transport.authority import Authority, Pair
from tests.integration.transport.servers import OK, answering, server
from tests.integration.world import STEADY, World, eventually

pytestmark = pytest.mark.e2e
MakeWorld = Callable[..., World]


class Visit:
    """One run of the doctor."""

    def __init__(self, world: World, *options: str) -> None:
        command = [program("aquasmart"), "--config", str(world.site.config_path), "doctor", "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        self.status, self.stderr = done.returncode, done.stderr
        self.findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"] if done.stdout else []

    def finding(self, check: str) -> dict[str, Any]:
        (found,) = [finding for finding in self.findings if finding["check"] == check]
        return found

    def faults(self) -> set[str]:
        return {finding["check"] for finding in self.findings if finding["verdict"] == "fault"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def configured(world: World, url: str, **settings: object) -> None:
    """The station with another cloud address and further settings of [cloud]."""
    path = world.site.config_path
    lines = "".join(f"{name} = {json.dumps(str(value))}\n" for name, value in settings.items())
    text = re.sub(r'(?m)^url = ".*"\n', f'url = "{url}"\n{lines}', path.read_text(), count=1)
    path.write_text(text)


def test_a_station_that_is_well(make_world: MakeWorld) -> None:
    world = make_world()
    world.start()
    world.await_flow(10)
    world.await_delivered()
    visit = Visit(world)
    assert visit.faults() == set(), visit.findings
    assert visit.status in {0, 3}  # a machine without a time service is warned about its clock
    seen = [finding["check"] for finding in visit.findings]
    assert {"configuration", "keys", "clock", "disk", "log", "reader", "sync", "port of tap-1"} <= {*seen}
    assert seen[-3:] == ["DNS", "connection", "cloud"]
    assert "demo-1" in visit.finding("cloud")["text"]
    for finding in visit.findings:
        assert bool(finding["next"]) is (finding["verdict"] != "ok")
    asked = [exchange.request.split(b" ")[0] for exchange in world.relay.exchanges if "notices" in exchange.target]
    assert asked == [b"GET"]
    assert world.key().hex() not in json.dumps(visit.findings)


def test_nothing_runs_and_nothing_is_plugged_in(make_world: MakeWorld) -> None:
    world = make_world()
    world.prepare()
    visit = Visit(world, "--offline")
    assert visit.status == 1
    assert visit.faults() == {"log", "reader", "sync", "port of tap-1"}
    assert "systemctl start aquasmart-reader" in visit.finding("reader")["next"]
    assert all(finding["next"] for finding in visit.findings if finding["verdict"] != "ok")
    assert not world.relay.exchanges


def test_a_key_that_others_can_read_stops_the_configuration_and_one_beside_it_is_found(make_world: MakeWorld) -> None:
    world = make_world()
    world.prepare()
    key = world.site.root / "station.key"
    key.chmod(0o644)
    visit = Visit(world)
    assert visit.status == 78
    assert "chmod 600" in visit.stderr
    key.chmod(0o600)
    (world.site.root / "former.key").write_text("x")
    (world.site.root / "former.key").chmod(0o640)
    assert "former.key" in Visit(world, "--offline").finding("keys")["next"]


def test_a_wrong_key_is_told_from_a_portal(make_world: MakeWorld) -> None:
    world = make_world()
    world.start("cloud")
    key = world.site.root / "station.key"
    key.write_text("ab" * 32)
    visit = Visit(world)
    assert "cloud" in visit.faults()
    assert "key file" in visit.finding("cloud")["next"]
    with server(answering(OK)) as url:
        configured(world, url)
        visit = Visit(world)
    assert "not signed" in visit.finding("cloud")["text"]
    assert "portal" in visit.finding("cloud")["next"]


def test_a_revoked_key_is_the_clouds_own_word(make_world: MakeWorld) -> None:
    world = make_world()
    world.start("cloud")
    world.site.cloud("station", "revoke", "demo-1")
    visit = Visit(world)
    assert "refuses it" in visit.finding("cloud")["text"]
    assert "Everything counted is kept" in visit.finding("cloud")["next"]


def test_each_step_of_the_way_that_fails_is_the_last(make_world: MakeWorld) -> None:
    world = make_world()
    world.prepare()
    configured(world, "http://no-such-host.invalid:8000")
    visit = Visit(world)
    assert "DNS" in visit.faults()
    assert visit.findings[-1]["check"] == "DNS"
    assert "not encrypted" in visit.finding("cloud address")["text"]
    configured(world, "http://127.0.0.1:9")
    visit = Visit(world)
    assert visit.findings[-1]["check"] == "connection"
    assert "refused" in visit.findings[-1]["text"].lower()


def test_certificates_by_their_dates(make_world: MakeWorld, authority: Authority) -> None:
    world = make_world()
    world.prepare()
    good, soon = authority.issue("good", days=(-1, 400.5)), authority.issue("soon", days=(-1, 12.5))
    old, client = authority.issue("old", days=(-9, -1)), authority.issue("station", days=(-9, -2))

    def visit(cloud: Pair, shown: Pair) -> Visit:
        with server(answering(OK), cloud.server()) as url:
            configured(
                world, url, ca_file=authority.certificate,
                client_certificate_file=shown.certificate, client_key_file=shown.key,
            )  # fmt: skip
            found = Visit(world)
        text = world.site.config_path.read_text()
        world.site.config_path.write_text(re.sub(r"(?m)^(ca_file|client_\w+) = .*\n", "", text))
        return found

    seen = visit(good, good)
    assert seen.finding("private CA")["verdict"] == "ok"
    assert seen.finding("client certificate")["text"].endswith("400 days")
    assert seen.finding("TLS")["text"] == "TLSv1.3"
    assert seen.finding("cloud's certificate")["text"].endswith("400 days")
    seen = visit(soon, soon)
    assert seen.finding("client certificate")["verdict"] == "warning"
    assert seen.finding("cloud's certificate")["text"].endswith("12 days")
    assert "renew" in seen.finding("cloud's certificate")["next"]
    seen = visit(old, client)
    assert "expired on" in seen.finding("client certificate")["text"]
    assert "has expired" in seen.finding("TLS")["text"]
    assert seen.findings[-1]["check"] == "TLS"


def test_for_people_each_finding_is_a_line_and_its_step_below(make_world: MakeWorld) -> None:
    world = make_world()
    world.prepare()
    command = [program("aquasmart"), "--config", str(world.site.config_path), "doctor", "--offline"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"(?m)^✓ configuration: ", done.stdout)
    assert re.search(r"(?m)^✗ port of tap-1: .* is not there\n    → ", done.stdout)


def test_a_meter_that_is_silent_or_another_is_named_with_the_next_step(make_world: MakeWorld) -> None:
    world = make_world(meters=[replace(STEADY, driver="modbus", identity="12345678")])
    world.start("meter:tap-1")
    world.take_baseline()
    visit = Visit(world, "--offline")
    assert visit.finding("meter tap-1")["text"].startswith("ok, ")
    assert visit.finding("power")["verdict"] == "ok"
    world.with_meter(identity="87654321", jump=-500_000)
    eventually(lambda: Visit(world, "--offline").finding("meter tap-1")["text"].startswith("frozen"), "frozen")
    assert "aquasmart meter swap tap-1" in Visit(world, "--offline").finding("meter tap-1")["next"]
    world.site.kill("meter:tap-1")
    eventually(lambda: Visit(world, "--offline").finding("meter tap-1")["text"].startswith("link-down"), "link-down")
    assert "Adapter" in Visit(world, "--offline").finding("meter tap-1")["next"]


def test_a_hold_is_a_fault_with_the_operators_number_to_call(make_world: MakeWorld) -> None:
    world = make_world()
    world.start()
    world.await_delivered()
    world.site.cloud("station", "retire", "demo-1")
    world.await_flow(2)
    eventually(lambda: world.site.status()["sync_state"] == "hold", "a hold")
    sync = Visit(world, "--offline").finding("sync")
    assert sync["verdict"] == "fault"
    assert "Call the operator" in sync["next"]
