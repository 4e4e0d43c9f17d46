"""What a station's heartbeat and events come to: findings, and what is remembered."""

from __future__ import annotations

import json
from typing import Any

from aquasmart_cloud.core.alert_facts import STALE_MS, Entry, Memory, Row, Station, findings, hear, learn
from aquasmart_cloud.core.alert_kinds import OFFLINE
from aquasmart_cloud.core.alerting import Finding, Key, Threshold, Track, thresholds_of

NOW_MS = 1_800_000_000_000
THRESHOLDS = thresholds_of([])
QUIET = Memory()


def row(kind: str, data: Any = None, *, meter_id: str | None = None, at: int = NOW_MS) -> Row:
    return Row(at, kind, meter_id, None if data is None else json.dumps(data))


def station(
    *, seen_ms: int | None = NOW_MS, state: str = "active", entries: list[Entry] | None = None, **said: Any
) -> Station:
    return Station(state, seen_ms, said, entries or [])


def found(of: Station, memory: Memory = QUIET, tracks: dict[Key, Track] | None = None) -> list[Finding]:
    return findings(of, memory, tracks or {}, THRESHOLDS, NOW_MS)[0]


def keys(found_: list[Finding]) -> list[Key]:
    return [each.key for each in found_]


def test_a_healthy_station_has_no_finding_and_is_due_when_its_silence_would_count() -> None:
    of = station(clock="ntp", dead_letters=0, meters=[{"meter_id": "tap-1", "state": "ok", "counts": 1}])
    assert findings(of, QUIET, {}, THRESHOLDS, NOW_MS) == ([], NOW_MS + THRESHOLDS[OFFLINE].after_ms)


def test_silence_is_offline_from_its_threshold_on_since_it_was_last_heard() -> None:
    after_ms = THRESHOLDS[OFFLINE].after_ms
    assert found(station(seen_ms=NOW_MS - after_ms + 1)) == []
    [silent] = found(station(seen_ms=NOW_MS - after_ms))
    assert (silent.kind, silent.since_ms) == (OFFLINE, NOW_MS - after_ms)


def test_one_that_was_never_heard_is_not_offline_and_a_retired_one_has_no_alerts() -> None:
    assert findings(station(seen_ms=None), QUIET, {}, THRESHOLDS, NOW_MS) == ([], None)
    assert findings(station(seen_ms=0, state="retired", clock="unset"), QUIET, {}, THRESHOLDS, NOW_MS) == ([], None)


def test_coming_back_counts_once_it_is_heard_regularly() -> None:
    tracks = {(OFFLINE, ""): Track(0, told=True, gone_ms=None, noted_ms=0, figures={})}
    after_ms = THRESHOLDS[OFFLINE].after_ms
    memory = hear(hear(QUIET, NOW_MS - 5 * after_ms, after_ms), NOW_MS - 60_000, after_ms)
    assert memory.heard_from_ms == NOW_MS - 60_000
    [fading] = found(station(seen_ms=NOW_MS - 60_000), memory, tracks)
    assert fading.fading
    assert found(station(), hear(memory, NOW_MS, after_ms), tracks) == []
    assert hear(memory, NOW_MS - 60_000, after_ms) is memory
    assert hear(QUIET, None, after_ms) is QUIET


def test_what_the_heartbeat_says_of_meters_clock_and_dead_letters() -> None:
    meters = [
        {"meter_id": "tap-1", "state": "silent"},
        {"meter_id": "tap-2", "state": "ok"},
        {"meter_id": "tap-3", "state": "frozen"},
        {"meter_id": 4, "state": "silent"},
        "no meter",
    ]
    said = found(station(clock="unset", dead_letters=3, meters=meters))
    assert keys(said) == [("meter-fault", "tap-1"), ("meter-fault", "tap-3"), ("clock", ""), ("dead-letters", "")]
    assert said[-1].figures == {"number": 3}
    assert found(station(meters="none", dead_letters="many")) == []


def test_the_last_block_of_conditions_counts_and_keeps_since_when() -> None:
    first = row("diagnostic", {"conditions": ["leak:tap-1", "disk-low"]}, at=NOW_MS - 9_000)
    again = row("diagnostic", {"conditions": ["leak:tap-1"]}, at=NOW_MS - 1_000)
    memory, _ = learn(QUIET, [first, again], NOW_MS)
    assert memory.conditions == {"leak:tap-1": NOW_MS - 9_000}
    assert keys(found(station(), memory)) == [("leak", "tap-1")]
    after_boot, _ = learn(memory, [row("boot", {"clock": "ntp"})], NOW_MS)
    assert found(station(), after_boot) == []


def test_reasons_of_a_degraded_row_count_as_conditions_do() -> None:
    reasons = ["disk-full", "sensor-stuck:tap-1", "ring-near-capacity", 7]
    memory, _ = learn(QUIET, [row("degraded", {"reasons": reasons})], NOW_MS)
    assert keys(found(station(), memory)) == [("disk", "disk-full"), ("meter-fault", "tap-1:sensor-stuck")]
    over, _ = learn(memory, [row("degraded", {"reasons": []})], NOW_MS)
    assert found(station(), over) == []


def test_a_clock_of_the_stations_that_runs_ahead_hides_nothing() -> None:
    ahead, _ = learn(QUIET, [row("diagnostic", {"conditions": ["leak:tap-1"]}, at=NOW_MS * 2)], NOW_MS)
    assert ahead.conditions == {"leak:tap-1": NOW_MS}
    over, _ = learn(ahead, [row("diagnostic", {"conditions": []}, at=5)], NOW_MS)
    assert over.conditions == {}


def test_anomalies_are_news_once_unless_a_condition_says_it_better_or_they_are_old() -> None:
    rows = [
        row("anomaly", {"metric": "flow_ul_s", "z": 4.2, "value": 9, "secret": "x" * 5_000}, meter_id="tap-1"),
        row("anomaly", {"metric": "supply_mv", "z": 3}),
        row("anomaly", {"metric": "stuck"}, meter_id="tap-1"),
        row("anomaly", {"metric": "leak", "pattern": "slow"}, meter_id="tap-1"),
        row("anomaly", {"metric": "flow_ul_s"}, at=NOW_MS - STALE_MS),
        row("anomaly", "no object"),
        Row(NOW_MS, "anomaly", None, "{"),
    ]
    memory, news = learn(QUIET, rows, NOW_MS)
    assert keys(news) == [("anomaly", "tap-1:flow_ul_s"), ("anomaly", "supply_mv")]
    assert news[0].figures == {"z": 4.2, "value": 9}
    assert all(each.instant for each in news)
    leaking, _ = learn(memory, [row("diagnostic", {"conditions": ["leak:tap-1"]})], NOW_MS)
    assert found(station(), leaking)[0].figures == {"pattern": "slow"}


def test_figures_beyond_measure_are_left_out() -> None:
    _, [news] = learn(QUIET, [row("anomaly", {"metric": "flow_ul_s", "value": "x" * 5_000})], NOW_MS)
    assert news.figures == {}


def test_open_differences_are_one_finding_for_each_name_that_somebody_can_do_something_about() -> None:
    entries = [Entry("hole", 2, 500, NOW_MS - 7), Entry("unknown-before", 1, 9, 1), Entry("unmeasured", 1, 9, 1)]
    [hole] = found(station(entries=entries))
    assert hole == Finding("books", "hole", NOW_MS - 7, {"number": 2, "volume_ul": 500})


def test_thresholds_can_be_anything() -> None:
    short = THRESHOLDS | {OFFLINE: Threshold(1_000, 0)}
    assert findings(station(seen_ms=NOW_MS - 1_000), QUIET, {}, short, NOW_MS)[0]
