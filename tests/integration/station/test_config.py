"""Configuration files: every fault at once, exact numbers, nothing guessed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from aquasmart_station.config import load_config
from aquasmart_station.core.errors import BadConfig
from aquasmart_station.core.model import Scale
from aquasmart_station.meters.driver import make_driver

GOOD = """
station_id = "demo-1"
state_dir = "station"
runtime_dir = "run"
[cloud]
url = "http://127.0.0.1:8001/"
key_id = "k1"
key_file = "station.key"
[[meters]]
id = "tap-1"
driver = "pulse"
port = "run/tap-1"
k_factor = 450
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    key = tmp_path / "station.key"
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    return tmp_path


def load(folder: Path, text: str):
    path = folder / "station.toml"
    path.write_text(text)
    return load_config(path)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        load(folder, text)
    return caught.value.faults


@pytest.mark.parametrize(("value", "good"), [("0.05", True), ("0.0499", False), ("60", True), ("60.001", False)])
def test_a_limit_may_be_reached_in_decimals(folder: Path, value: str, *, good: bool) -> None:
    """As a float 0.05 is above 0.05: the least that is allowed was refused."""
    text = GOOD.replace("[cloud]", f"[reader]\ncommit_interval_s = {value}\n[cloud]")
    if good:
        assert load(folder, text).reader.commit_interval_s == float(value)
    else:
        assert faults(folder, text) == ["reader.commit_interval_s: must be a number from 0.05 to 60"]


def test_a_narrow_counter_says_where_it_begins_again(folder: Path) -> None:
    text = GOOD.replace("k_factor = 450", "k_factor = 450\nmodulus = 65536")
    assert make_driver(load(folder, text).meters[0].settings).traits.modulus == 65_536
    wrong = text.replace("65536", "1")
    assert faults(folder, wrong) == ["meters[0].modulus: must be a whole number from 2 to 4294967296, not 1"]


def test_defaults_and_paths_relative_to_the_file(folder: Path) -> None:
    config = load(folder, GOOD)
    assert config.log_path == folder / "station" / "log.db"
    assert config.live_path == folder / "run" / "live.db"
    assert config.meters[0].port == folder / "run" / "tap-1"
    assert config.cloud.url == "http://127.0.0.1:8001"
    assert (config.reader.commit_interval_s, config.sync.linger_s, config.reader.poll_hz) == (1.0, 2.0, 10)
    assert make_driver(config.meters[0].settings).traits.scale == Scale(20_000, 9)


def test_the_key_is_not_shown(folder: Path) -> None:
    assert "ab" * 32 not in repr(load(folder, GOOD))
    assert repr(bytes.fromhex("ab" * 32)) not in repr(load(folder, GOOD))


@pytest.mark.parametrize(
    ("text", "exact"), [("450.5", Fraction(901, 2)), ('"450.1"', Fraction(4501, 10)), ("0.1", Fraction(1, 10))]
)
def test_decimals_are_exact(folder: Path, text: str, exact: Fraction) -> None:
    config = load(folder, GOOD.replace("k_factor = 450", f"k_factor = {text}"))
    assert config.meters[0].settings.k_factor == exact


def test_the_logs_bounds(folder: Path) -> None:
    default = load(folder, GOOD).log
    assert (default.budget_bytes, default.retention_ms) == (None, 2_592_000_000)
    set_ = load(folder, GOOD.replace("[[meters]]", "[log]\nbudget_mib = 64\nretention_days = 7\n[[meters]]")).log
    assert (set_.budget_bytes, set_.retention_ms) == (67_108_864, 604_800_000)


def test_every_fault_is_named_at_once(folder: Path) -> None:
    (folder / "station.key").chmod(0o644)
    found = faults(
        folder,
        """
station_id = "Demo 1"
colour = "blue"
[cloud]
url = "ftp://somewhere"
key_file = "station.key"
ca_file = "absent.pem"
read_timeout_s = "long"
[reader]
poll_hz = 1000
ring_rows = 1.5
[log]
budget_mib = 0
retention_days = 0.5
size = 3
[sync]
batch_rows_max = true
[[meters]]
id = "tap-1"
driver = "guess"
k_factor = -4
[[meters]]
id = "tap-1"
port = "x"
driver = "pulse"
k_factor = nan
nonvolatile = "yes"
""",
    )
    for part in (
        "station_id: 'Demo 1' must match",
        "colour: is not a setting",
        "cloud.url:",
        "cloud.key_id: is missing",
        "cloud.key_file:",
        "can be read by others",
        "cloud.ca_file:",
        "cloud.read_timeout_s:",
        "reader.poll_hz:",
        "reader.ring_rows:",
        "log.budget_mib:",
        "log.retention_days:",
        "log.size: is not a setting",
        "sync.batch_rows_max:",
        "meters[0].port: is missing",
        "meters[0].driver:",
        "meters[0].k_factor:",
        "meters[1].k_factor:",
        "meters[1].nonvolatile:",
        "meters: id 'tap-1' is given twice",
    ):
        assert any(part in fault for fault in found), (part, found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "station_id: is missing"),
        ("station_id = ", "not TOML"),
        (GOOD.replace("[[meters]]", "[meters]"), "at least one [[meters]]"),
        (GOOD + "cloud = 3", "is not a setting"),
        (GOOD.replace("[cloud]", "[kloud]"), "kloud: is not a setting"),
        (GOOD.replace('key_file = "station.key"', 'key_file = "absent"'), "cannot be read"),
        (GOOD.replace("http://127.0.0.1:8001/", "http://user@host/"), "cloud.url"),
        (GOOD + "qmax_l_min = inf", "qmax_l_min"),
        (GOOD.replace('id = "tap-1"', "id = 7"), "must be text"),
    ],
)
def test_a_fault_is_named(folder: Path, text: str, said: str) -> None:
    assert said in "\n".join(faults(folder, text))


@pytest.mark.parametrize("key", ["ab" * 31, "AB" * 32, "xy" * 32, "", "é" * 64])
def test_a_key_file_holds_a_key(folder: Path, key: str) -> None:
    path = folder / "station.key"
    path.write_text(key)
    path.chmod(0o600)
    assert any("64 lower-case hex digits" in fault for fault in faults(folder, GOOD))


def test_no_file_and_no_text(folder: Path) -> None:
    with pytest.raises(BadConfig, match="does not exist"):
        load_config(folder / "absent.toml")
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadConfig, match="cannot be read"):
        load_config(folder / "binary.toml")


def test_what_is_detected_has_defaults_and_bounds(folder: Path) -> None:
    detect = load(folder, GOOD).detect
    assert (detect.threshold, detect.window, detect.warm_up) == (3.0, 120, 30)
    assert (detect.leak_after_s, detect.slow_leak_after_s, detect.stuck_after_s) == (1_800, 1_800, 10)
    assert (detect.no_flow_after_s, detect.diagnostics_interval_s, detect.supply_low_mv) == (259_200, 3_600, 4_750)
    assert load(folder, GOOD + "[detect]\nthreshold = 2.5\nno_flow_after_s = 0\n").detect.threshold == 2.5
    wrong = """
[detect]
threshold = 1
window = 20
warm_up = 21
leak_after_s = 0
stuck_after_s = "soon"
diagnostics_interval_s = 0.5
supply_low_mv = 4.75
sensitivity = 3
"""
    named = faults(folder, GOOD + wrong)
    assert [fault.partition(":")[0] for fault in named] == [
        f"detect.{key}"
        for key in (
            *("diagnostics_interval_s", "leak_after_s", "sensitivity", "stuck_after_s", "supply_low_mv", "threshold"),
            "warm_up",
        )
    ]
