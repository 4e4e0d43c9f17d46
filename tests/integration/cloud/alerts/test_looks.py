"""What opens alerts and what closes them, from signed requests of stations on both stores; each told once."""

from __future__ import annotations

from typing import Any

import pytest

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.services import alert_changes
from aquasmart_cloud.store import alert_settings, alert_watch, alerts, failures, intake, job_runs
from aquasmart_cloud.store.intake_log import Occasion
from aquasmart_cloud.store.job_runs import JobRun
from tests.integration.cloud.alerts.scenes import MINUTE_MS, Diary, Watchful, beat, until
from tests.integration.cloud.senders import Run, Sender


@pytest.fixture
def hooked(watchful: Watchful) -> Watchful:
    """With somebody who is told."""
    watchful.webhooks.add("https://alerts.example.org/hook", (), watchful.cloud.now_ms)
    return watchful


def test_a_station_that_is_well_has_no_alert(hooked: Watchful, sender: Sender) -> None:
    beat(sender)
    Diary(sender).say(("boot", {"clock": "ntp"}), ("diagnostic", {"conditions": [], "board": {}, "meters": []}))
    sender.take(Run(1_000_000).batch([1, 2, 3]))
    hooked.look()
    assert (hooked.current(), hooked.told()) == ([], [])


def test_silence_opens_one_alert_and_regular_words_close_it(hooked: Watchful, sender: Sender) -> None:
    beat(sender)
    hooked.look()
    hooked.pass_time(15 * MINUTE_MS - 1)
    hooked.look()
    assert hooked.current() == []
    hooked.pass_time(1)
    hooked.look()
    assert hooked.current() == [("demo-1", "offline", "", "open")]
    beat(sender)
    hooked.look()
    assert hooked.current() != [], "one word is not enough"
    until(hooked, lambda: not hooked.current(), step_ms=MINUTE_MS, most=6, also=lambda: beat(sender))
    assert hooked.told() == [("alert.opened", "offline"), ("alert.closed", "offline")]


def test_a_station_with_a_bad_network_does_not_flap(hooked: Watchful, sender: Sender) -> None:
    beat(sender)
    for _ in range(10):
        for _ in range(20):
            hooked.pass_time(MINUTE_MS)
            hooked.look()
        beat(sender)
        hooked.look()
    assert hooked.told() == [("alert.opened", "offline")]


def test_a_telemetry_batch_is_a_word_too(hooked: Watchful, sender: Sender) -> None:
    run = Run(1_000_000)
    for _ in range(30):
        sender.take(run.batch([1]))
        hooked.pass_time(MINUTE_MS)
        hooked.look()
    assert hooked.told() == []


def test_conditions_of_the_log_open_and_close_leaks_and_disks(hooked: Watchful, sender: Sender) -> None:
    diary = Diary(sender)
    beat(sender)
    hooked.look()
    leak = {"metric": "leak", "pattern": "slow"}
    sender.take(Run(1_000_000).batch([1], rows=[{"row": 0, "kind": "anomaly", "data": leak}]))
    diary.say(("diagnostic", {"conditions": ["leak:tap-1", "disk-low"]}))
    hooked.look()
    assert hooked.current() == [("demo-1", "leak", "tap-1", "open")], "a low disk must last first"
    figures = hooked.cloud.one("SELECT figures FROM alert")
    assert figures == '{"pattern":"slow"}'
    until(hooked, lambda: len(hooked.current()) == 2, step_ms=MINUTE_MS, most=7, also=lambda: beat(sender))
    diary.say(("diagnostic", {"conditions": []}))
    until(hooked, lambda: not hooked.current(), step_ms=MINUTE_MS, most=14, also=lambda: beat(sender))
    assert [event for event, _ in hooked.told()] == ["alert.opened", "alert.opened", "alert.closed", "alert.closed"]


def test_events_that_were_read_are_not_read_again(hooked: Watchful, sender: Sender) -> None:
    diary = Diary(sender)
    for number in range(5):
        diary.say(("anomaly", {"metric": "supply_mv", "z": number}), ("shutdown", {}))
        hooked.look()
    assert hooked.told() == [("alert.opened", "anomaly")]
    assert hooked.cloud.one("SELECT figures FROM alert") == '{"z":4}'
    assert hooked.cloud.one("SELECT log_id FROM alert_watch WHERE what = 'station'") == 5
    until(hooked, lambda: not hooked.current(), step_ms=30 * MINUTE_MS, most=4, also=lambda: beat(sender))
    hooked.look()
    assert hooked.told() == [("alert.opened", "anomaly"), ("alert.closed", "anomaly")]


def test_meters_clock_and_dead_letters_by_the_heartbeat(hooked: Watchful, sender: Sender) -> None:
    ill: dict[str, Any] = {
        "clock": "unset",
        "dead_letters": 2,
        "meters": [{"meter_id": "tap-1", "state": "silent", "counts": None}],
    }
    for _ in range(17):
        beat(sender, **ill)
        hooked.look()
        hooked.pass_time(MINUTE_MS)
    assert [row[1:3] for row in hooked.current()] == [("clock", ""), ("dead-letters", ""), ("meter-fault", "tap-1")]
    until(hooked, lambda: not hooked.current(), step_ms=MINUTE_MS, most=5, also=lambda: beat(sender))
    assert len(hooked.told()) == 6


def test_books_that_do_not_balance_open_when_they_stay_so_and_close_with_their_difference(
    hooked: Watchful, sender: Sender
) -> None:
    strong = {"identity": {"kind": "strong", "value": "SN 1"}}
    first, later = Run(1_000_000, **strong), Run(1_000_100, at=hooked.cloud.now_ms - 9_000, **strong)
    sender.take(first.batch([5, 5]))
    sender.take(later.batch([1]))
    hooked.look()
    assert hooked.current() == [], "a hole may be a backlog's"
    until(hooked, lambda: bool(hooked.current()), step_ms=MINUTE_MS, most=17, also=lambda: beat(sender))
    assert [row[1:3] for row in hooked.current()] == [("books", "hole")]
    amount = hooked.cloud.one("SELECT sum(volume_ul) FROM ledger_entry WHERE kind = 'hole'")
    assert str(amount) in hooked.cloud.one("SELECT figures FROM alert")
    sender.take(first.batch([90]))
    until(hooked, lambda: not hooked.current(), step_ms=MINUTE_MS, most=8, also=lambda: beat(sender))


def test_a_difference_that_somebody_closes_is_found_to_be_over_without_a_word_of_the_station(
    hooked: Watchful, sender: Sender
) -> None:
    sender.take(Run(1_000_000).batch([5, 5]))
    sender.take(Run(1_000_100, at=hooked.cloud.now_ms - 9_000).batch([1]))
    alert_settings.put(hooked.cloud.database, "fleet", "", {"books.after_s": 0, "offline.enabled": 0}, 1)
    hooked.look()
    assert {row[1] for row in hooked.current()} == {"books"}
    with hooked.cloud.database.writing() as connection:
        connection.execute("UPDATE ledger_entry SET state = 'closed'")
    until(hooked, lambda: not hooked.current(), step_ms=MINUTE_MS, most=8)


def test_retiring_a_station_ends_its_alerts(hooked: Watchful, sender: Sender) -> None:
    beat(sender, dead_letters=1)
    hooked.look()
    assert hooked.current() != []
    hooked.cloud.stations.retire("demo-1")
    until(hooked, lambda: not hooked.current(), step_ms=MINUTE_MS, most=4)


def test_settings_of_a_group_and_of_a_station(hooked: Watchful) -> None:
    database, cloud = hooked.cloud.database, hooked.cloud
    senders = [cloud.station(name) for name in ("one", "two", "three")]
    with database.writing() as connection:
        connection.execute(
            "INSERT INTO station_config (station_id, group_name, version, sha256, document, set_by, set_at)"
            " VALUES ('two', 'market', 1, '', '{}', '', 1)"
        )
    for each in senders:
        beat(each)
    alert_settings.put(database, "group", "market", {"offline.after_s": 60}, 1)
    alert_settings.put(database, "station", "three", {"offline.after_s": 120}, 1)
    hooked.pass_time(MINUTE_MS)
    hooked.look()
    assert [row[0] for row in hooked.current()] == ["two"]
    hooked.pass_time(MINUTE_MS)
    hooked.look()
    assert sorted(row[0] for row in hooked.current()) == ["three", "two"]
    alert_settings.put(database, "group", "market", {"offline.enabled": 0}, 1)
    hooked.look()
    assert [row[0] for row in hooked.current()] == ["three"], "a setting acts at the next look, heard or not"


def test_failed_foreign_events_are_told_each_once_and_alerted_of_until_they_are_seen_to(hooked: Watchful) -> None:
    from aquasmart_cloud.core.normalising.incoming import incoming
    from aquasmart_cloud.core.normalising.rules import Rules
    from aquasmart_cloud.store.clients import Clients

    database, now_ms = hooked.cloud.database, hooked.cloud.now_ms
    client_id = Clients(database).add("acme", now_ms).client_id
    rules = Clients(database).rules(client_id)
    assert isinstance(rules, Rules)
    occasion = Occasion(now_ms, "r", "t", "test")
    intake.take(database, client_id, [incoming({"n": number}, rules) for number in range(3)], occasion)
    assert hooked.look().failures == 3
    intake.take(database, client_id, [incoming({"n": 3}, rules)], occasion)
    assert hooked.look().failures == 1
    assert hooked.look().failures == 0
    assert hooked.current() == [(client_id, "failed-events", "", "open")]
    told = [("alert.opened", "failed-events"), *[("failed-events.new", "failed-events")] * 2]
    assert sorted(hooked.told()) == sorted(told)
    for number in range(1, 5):
        intake.dismiss(database, (client_id, number), "seen", occasion)
    until(hooked, lambda: not hooked.current(), step_ms=MINUTE_MS, most=8)
    assert failures.counts(database) == {client_id: {"dismissed": 4}}


def test_a_job_that_keeps_failing_is_alerted_of(hooked: Watchful) -> None:
    database, now_ms = hooked.cloud.database, hooked.cloud.now_ms
    job_runs.keep(database, JobRun("retention", now_ms).failed(now_ms, 5, "the disk is full"))
    hooked.look()
    assert hooked.current() == [], "once is not yet a fault"
    hooked.pass_time(5 * MINUTE_MS)
    hooked.look()
    assert hooked.current() == [("_cloud", "job-failed", "retention", "open")]
    job_runs.keep(database, JobRun("retention", now_ms).done(now_ms, 5, ""))
    hooked.look()
    assert hooked.current() == []


def test_an_alert_closed_by_hand_stays_closed_until_it_comes_back(hooked: Watchful, sender: Sender) -> None:
    beat(sender, dead_letters=1)
    hooked.look()
    name = "demo-1.1"
    hooked.pass_time(1)
    alert_changes.close(hooked.cloud.database, [], name, "ada", "known", hooked.cloud.now_ms)
    for _ in range(10):
        hooked.pass_time(MINUTE_MS)
        beat(sender, dead_letters=1)
        hooked.look()
    assert hooked.current() == []
    for dead_letters in (0, 0, 0, 1):
        hooked.pass_time(MINUTE_MS)
        beat(sender, dead_letters=dead_letters)
        hooked.look()
    assert hooked.current() == [("demo-1", "dead-letters", "", "open")]
    assert hooked.told() == [
        ("alert.opened", "dead-letters"),
        ("alert.closed", "dead-letters"),
        ("alert.opened", "dead-letters"),
    ]


def test_two_looks_at_once_tell_nothing_twice(
    hooked: Watchful, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look runs between the first one's reading and its writing, as another worker's might."""
    beat(sender, dead_letters=1)
    between = [lambda: Watchful(hooked.cloud).look()]
    read = alert_watch.entries

    def entries(*arguments: Any) -> Any:
        found = read(*arguments)
        if between:
            between.pop()()
        return found

    monkeypatch.setattr(alert_watch, "entries", entries)
    hooked.look()
    assert not between
    assert hooked.told() == [("alert.opened", "dead-letters")]
    assert hooked.cloud.one("SELECT count(*) FROM alert") == 1
    hooked.look()
    assert hooked.told() == [("alert.opened", "dead-letters")]


def test_a_look_that_fails_at_its_end_leaves_nothing_and_is_repeated_whole(
    hooked: Watchful, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(sender, dead_letters=1)
    real = alert_changes.outbox.put

    def broken(*_: Any) -> int:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(alert_changes.outbox, "put", broken)
    with pytest.raises(DatabaseError):
        hooked.look()
    assert (hooked.current(), hooked.told()) == ([], [])
    monkeypatch.setattr(alert_changes.outbox, "put", real)
    hooked.look()
    assert hooked.told() == [("alert.opened", "dead-letters")]


def test_pages_of_alerts_newest_first(hooked: Watchful) -> None:
    for number in range(7):
        beat(hooked.cloud.station(f"station-{number}"), dead_letters=1)
        hooked.look()
        hooked.pass_time(1)
    database, after, seen = hooked.cloud.database, None, []
    while found := alerts.read_page(database, alerts.Wanted(alerts.STATES), after, 3):
        seen += [each.station_id for each in found]
        after = alerts.Place.of_text(alerts.Place(found[-1].opened_at, found[-1].station_id, found[-1].alert_id).text())
        assert after is not None
    assert seen == [f"station-{number}" for number in range(6, -1, -1)]
    assert [each.station_id for each in alerts.read_page(database, alerts.Wanted(station_id="station-3"), None, 9)] == [
        "station-3"
    ]
    assert alerts.read_page(database, alerts.Wanted(kind="leak"), None, 9) == []
