"""What the documents for people say: the same words on the page and in the answer."""

from __future__ import annotations

from typing import Any

import pytest

from aquasmart_cloud.web import documents, words
from aquasmart_cloud.web.quantities import quantity


def a_station(**changes: Any) -> dict[str, Any]:
    station = {
        "station_id": "kiosk-1", "name": "Kiosk", "state": "online", "pending": 0, "oldest_pending_s": 0,
        "open_differences": 0, "clock": "ntp", "minutes": [[60_000, 5]], "differences": [], "intervals": [],
        "streams": [], "notable": [], "meters": [], "keys": [{"key_id": "k1", "created_at": 1, "revoked_at": None}],
        "config": {"version": 0, "state": "none", "reasons": []}, "alerts": [],
    }  # fmt: skip
    return {**station, **changes}


def an_alert(**changes: Any) -> dict[str, Any]:
    alert = {
        "alert_id": "kiosk-1.1", "station_id": "kiosk-1", "severity": "warning", "state": "open", "opened_at": 1,
        "acknowledged_by": None, "note": None,
    }  # fmt: skip
    return {**alert, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Reporting normally"),
        ({"pending": 12, "oldest_pending_s": 30}, "12 events, oldest 30 s"),
        ({"open_differences": 1}, "differences"),
        ({"alerts": [an_alert()]}, "needs somebody"),
        ({"state": "late"}, "Nothing is lost"),
        ({"state": "offline"}, "check its power and its network"),
        ({"state": "never"}, "never reported"),
        ({"state": "retired"}, "Retired"),
        ({"keys": [{"key_id": "k1", "created_at": 1, "revoked_at": 2}]}, "key is revoked"),
    ],
)
def test_a_station_says_how_it_fares(changes: dict[str, Any], said: str) -> None:
    assert said in documents.station(a_station(**changes))["summary"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("applied", "Version 3: applied"),
        ("refused", "Version 3: refused (too low; no such meter)"),
        ("rolled-back", "Version 3: taken back by the station (too low; no such meter)"),
        ("received", "Version 3: fetched, or on trial"),
    ],
)
def test_a_configuration_says_how_far_it_has_come(state: str, said: str) -> None:
    config = {"version": 3, "state": state, "reasons": ["too low", "no such meter"]}
    assert documents.station(a_station(config=config))["config_label"] == said
    assert documents.station(a_station())["config_label"] == "As in its own file"


def test_every_state_and_every_difference_has_words() -> None:
    assert set(words.STATES) == {"online", "late", "offline", "never", "retired"}
    for kind in ("hole", "overlap", "unknown-before", "claim-difference", "row-difference", "clone-suspected"):
        told = words.difference(kind)
        assert told.title
        assert told.advice
        assert kind in words.DIFFERENCES


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"metric":"stuck"}', "Stuck sensor"),
        ('{"metric":"leak","pattern":"slow"}', "Leak found"),
        ('{"metric":"no-flow"}', "No flow"),
        ('{"metric":"identity"}', "Another meter answers"),
        ('{"metric":"flow_ul_s","z":4}', "Unusual flow"),
        ('{"metric":"rtt_us"}', "Unusual answering time of the meter"),
        ('{"metric":"interval_ms"}', "Readings late or missing"),
        ('{"metric":"temperature_change_mc"}', "Unusual change of temperature"),
        ('{"metric":"supply_mv"}', "Unusual supply voltage"),
        ('{"metric":"moon-phase"}', "Unusual: moon phase"),
        ('{"metric":7}', "Something unusual"),
        ('["metric"]', "Something unusual"),
        (None, "Something unusual"),
    ],
)
def test_an_anomaly_is_called_by_what_it_is_about(data: str | None, said: str) -> None:
    event = {"stream": "s", "seq": 1, "kind": "anomaly", "meter_id": "tap-1", "data": data}
    (shown,) = documents.station(a_station(notable=[event]))["notable"]
    assert shown["kind_label"] == said
    assert words.event("pour", {"metric": "leak"}) == "Pour"


def test_an_unknown_difference_is_shown_by_its_own_name() -> None:
    assert words.difference("moon-phase").title == "Moon phase"


def test_the_fleet_counts_those_online_of_those_that_should_be() -> None:
    stations = [a_station(), a_station(state="late"), a_station(state="retired")]
    fleet = documents.fleet({"stations": stations, "open_differences": 0, "alerts": []})
    assert (fleet["online"], fleet["expected"]) == (1, 2)
    assert fleet["minutes"] == [[60_000, 15]]


def test_alerts_are_shown_urgent_ones_first_then_what_nobody_has_seen_then_the_newest() -> None:
    found = [
        an_alert(alert_id="old"),
        an_alert(alert_id="new", opened_at=9),
        an_alert(alert_id="seen", opened_at=10, state="acknowledged", acknowledged_by="Ada", note="on my way"),
        an_alert(alert_id="leak", severity="urgent"),
        an_alert(alert_id="job", station_id="_cloud", opened_at=0),
        an_alert(alert_id="client", station_id="c_acme", opened_at=-1),
    ]
    shown = documents.alerts(found, {"kiosk-1": "Kiosk"})
    assert [each["key"] for each in shown] == ["leak", "new", "old", "job", "client", "seen"]
    assert [each["owner_label"] for each in shown[2:5]] == ["Kiosk", "This cloud", "c_acme"]
    assert [each["href"] for each in shown[2:4]] == ["/stations/kiosk-1", "/"]
    assert shown[-1]["seen_label"] == " · Ada sees to it: on my way"
    assert shown[0]["seen_label"] == ""


def test_a_fleet_with_many_alerts_shows_a_dozen_and_says_so() -> None:
    fleet = documents.fleet({"stations": [a_station()], "open_differences": 0, "alerts": [an_alert()] * 30})
    assert len(fleet["alerts"]) == 12
    assert "The first 12 of 30" in fleet["alerts_label"]


def test_a_scale_reads_as_its_k_factor_where_that_is_whole() -> None:
    assert documents.scale_label(20_000, 9) == "450 counts/L"
    assert documents.scale_label(1_000, 1) == "1,000 counts/L"
    assert documents.scale_label(7_000_000, 3) == "7,000,000/3 µl"


def test_what_an_event_says_is_in_words_however_deep_it_is() -> None:
    said = {"conditions": [], "board": {"clock": "ntp", "temperature": None}, "meters": [{"state": "ok"}], "polls": 0}
    assert words.details(said) == "board (clock ntp) · meters (state ok) · polls 0"
    assert words.details({"reasons": ["hot", "disk-low"]}) == "reasons hot, disk-low"
    assert words.details({"runs": [[1, 2], {"free_bytes": 3 << 20}]}) == "runs [1, 2], (free 3 MiB)"
    assert words.details(None) == ""


def test_an_events_figures_have_the_units_that_their_names_end_in() -> None:
    pour = {
        "from_counts": 1_016_576, "to_counts": 1_016_815, "volume_ul": 531_111, "duration_ms": 5150,
        "peak_ul_s": 122_222, "mean_ul_s": 103_128,
    }  # fmt: skip
    assert words.details(pour) == (
        "from counts 1,016,576 · to counts 1,016,815 · volume 0.531111 L · duration 5.15 s"
        " · peak 7.33 L/min · mean 6.19 L/min"
    )
    supply = {"metric": "supply_mv", "value": 4712, "mean": 5032.4, "sd": 25.0, "z": -12.82, "threshold": 3.0}
    assert words.details(supply) == "value 4.712 V · mean 5.032 V · sd 0.025 V · z -12.82 · threshold 3.0"
    assert words.details({"metric": "ph", "value": 7}) == "metric ph · value 7"
    assert words.details({"metric": ["ph"], "value_ul": None}) == "metric ph"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("unmeasured_bound_ul", 1_234_567_890, ("unmeasured_bound", "1,234.567890 L")),
        ("volume_ul", -5, ("volume", "−0.000005 L")),
        ("unmeasured_ms", 7_322_000, ("unmeasured", "2 h")),
        ("since_ms", 1_795_948_800_000, ("since", "2026-11-29 10:40:00 UTC")),
        ("lasted_ms", 0, ("lasted", "0 s")),
        ("linger_s", 0.1, ("linger", "0.1 s")),
        ("rtt_us", 1500, ("rtt", "1.5 ms")),
        ("temperature_change_mc", -1250, ("temperature_change", "-1.2 °C")),
        ("used_bytes", 5 << 30, ("used", "5,120 MiB")),
        ("polls", 3, ("polls", "3")),
        ("stuck_s", True, ("stuck_s", "True")),
        ("text_ms", "soon", ("text_ms", "soon")),
        ("since_ms", 10**14, ("since_ms", "1" + "0" * 14)),
        ("lasted_ms", float("inf"), ("lasted_ms", "inf")),
        ("lasted_ms", float("nan"), ("lasted_ms", "nan")),
        ("lasted_ms", 1e-300, ("lasted", "0 s")),
        ("volume_ul", 10**14 - 1, ("volume", "99,999,999.999999 L")),
    ],
)
def test_a_figure_is_told_with_the_unit_its_name_ends_in(name: str, value: object, told: tuple[str, str]) -> None:
    assert quantity(name, value) == told
