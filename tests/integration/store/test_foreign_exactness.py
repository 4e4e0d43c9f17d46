"""Foreign events exactly once, whatever happens at once: the same ones by eight senders to two workers, which are
killed, and whose database is killed. Beside clients, a station that signs events while its telemetry comes. The sums
are the test's own.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aquasmart_cloud.store.clients import Clients
from tests.fakes.ports import free_port
from tests.integration.store.crowd import Crowd, Events, Key, Message, Served, served
from tests.integration.store.stores import Store
from tests.integration.store.test_exactness import disturbed, streams

SENDERS = 8
REQUESTS = 40
EACH = 6


@pytest.fixture
def running(store: Store, tmp_path: Path) -> Iterator[Served]:
    with served(store, tmp_path, free_port()) as made:
        yield made


@dataclass
class Paper:
    """What one sender's books must come to."""

    amounts: dict[str, Decimal] = field(default_factory=dict)
    unreadable: int = 0

    def requests(self, sender: str | Key, chance: random.Random) -> list[Events]:
        """Requests that overlap: each repeats an event of an earlier one in other words, most bring one that fails."""
        made = []
        for number in range(REQUESTS):
            events: list[dict[str, Any]] = []
            for place in range(EACH):
                name = f"{number}-{place}"
                self.amounts[name] = Decimal(chance.randrange(1, 100_000)) / 1000
                events.append(_event(name, str(self.amounts[name])))
            again = chance.choice(sorted(self.amounts))
            events.append(_event(again, f"$ {self.amounts[again]:,}0"))
            if chance.random() < 0.7:
                self.unreadable += 1
                events.append({"id": f"bad-{number}"})
            chance.shuffle(events)
            made.append(Events(sender, json.dumps({"events": events}).encode()))
        return made


def _event(name: str, amount: str) -> dict[str, Any]:
    at = 1_709_288_100 + 7 * int(name.partition("-")[0])
    return {"id": name, "metric": "sale", "amount": amount, "timestamp": at}


@dataclass
class World:
    """Two clients and a station, what each sends, and what is expected."""

    lists: list[list[Message | Events]]
    papers: dict[str, Paper]
    station: tuple[str, int]
    """The station and the rows of its telemetry."""


def prepare(running: Served, chance: random.Random) -> World:
    clients = Clients(running.cloud.database)
    new = [clients.add(name, 1) for name in ("one", "two")]
    station = running.key("signs-1")
    senders: dict[str, str | Key] = {each.client_id: each.token for each in new} | {"signs-1": station}
    papers = {name: Paper() for name in senders}
    queues: list[list[Any]] = [papers[name].requests(sender, chance) for name, sender in senders.items()]
    telemetry, _, rows = streams(station, chance)
    queues += telemetry
    lists = [_mixed(queues, number, chance) for number in range(SENDERS)]
    return World(lists, papers, ("signs-1", rows))


def _mixed(queues: list[list[Any]], number: int, chance: random.Random) -> list[Message | Events]:
    """What one sender sends: telemetry in its order, everything else in any, half of the senders crosswise."""
    waiting = [list(queue) if isinstance(queue[0], Message) else chance.sample(queue, len(queue)) for queue in queues]
    if number % 2:
        waiting.reverse()
    mixed = []
    while waiting:
        queue = chance.choice(waiting)
        mixed.append(queue.pop(0))
        if not queue:
            waiting.remove(queue)
    return mixed


def expect_exact(running: Served, world: World) -> None:
    """Events, identities, failures, numbers, rollups of each grain and the trail are what the paper says."""
    ask = running.cloud.query
    running.cloud.assert_books_balance()
    for sender, paper in world.papers.items():
        count, total = len(paper.amounts), sum(paper.amounts.values())
        stored = ask("SELECT event_seq, normalised FROM foreign_event WHERE client_id = ? ORDER BY event_seq", sender)
        assert [seq for seq, _ in stored] == list(range(1, count + 1))
        found = [json.loads(text) for _, text in stored]
        assert {each["id"]: Decimal(each["amount"]) for each in found} == paper.amounts
        failed = ask("SELECT failed_seq FROM failed_event WHERE client_id = ? ORDER BY failed_seq", sender)
        assert [seq for (seq,) in failed] == list(range(1, paper.unreadable + 1))
        assert ask("SELECT last_event, last_failed FROM intake WHERE client_id = ?", sender) == [
            (count, paper.unreadable)
        ]
        for grain in ("minute", "hour", "day"):
            cells = ask(
                "SELECT events, amount_sum FROM foreign_rollup WHERE client_id = ? AND grain = ?", sender, grain
            )
            assert sum(events for events, _ in cells) == count, grain
            assert sum(Decimal(amount) for _, amount in cells) == total, grain
        known = ask("SELECT count(DISTINCT event_seq) FROM row_identity WHERE client_id = ?", sender)
        assert known == [(count,)]
        [(rows, last)] = ask("SELECT count(*), max(log_id) FROM processing_log WHERE station_id = ?", sender)
        assert rows == last
    station_id, rows = world.station
    assert ask("SELECT events FROM station WHERE station_id = ?", station_id) == [(rows,)]


def expect_answered(crowd: Crowd, world: World) -> None:
    """Where no answer was lost, exactly one answer to each event said that it was processed."""
    assert crowd.inserted == sum(len(paper.amounts) for paper in world.papers.values()) + world.station[1]


def test_the_same_events_by_all_at_once_and_crosswise(running: Served) -> None:
    world, crowd = prepare(running, random.Random(1)), Crowd(running.site.cloud_port)
    crowd.send_all(world.lists)
    assert crowd.broken == 0, running.site.log_tail("cloud")
    expect_answered(crowd, world)
    expect_exact(running, world)


def test_workers_killed_under_load(running: Served, record_property: Callable[[str, object], None]) -> None:
    world, crowd = prepare(running, random.Random(2)), Crowd(running.site.cloud_port)
    with disturbed(running.kill_a_worker) as happened:
        crowd.send_all(world.lists)
    expect_exact(running, world)
    assert happened
    record_property("counted", f"workers killed {len(happened)} times, {crowd.broken} requests without an answer")


POSTGRESQL = [pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]


@pytest.mark.parametrize("store", POSTGRESQL, indirect=True)
def test_the_database_and_its_workers_killed_under_load(
    running: Served, store: Store, record_property: Callable[[str, object], None]
) -> None:
    def crash(number: int) -> bool:
        store.server.stop("immediate")
        running.kill_a_worker(number)
        store.server.start()
        return True

    world, crowd = prepare(running, random.Random(3)), Crowd(running.site.cloud_port)
    with disturbed(crash) as happened:
        crowd.send_all(world.lists)
    expect_exact(running, world)
    assert happened
    record_property("counted", f"PostgreSQL crashed {len(happened)} times, {crowd.broken} requests without an answer")


@pytest.mark.parametrize("store", POSTGRESQL, indirect=True)
def test_a_client_waits_for_itself_and_for_nobody_else(running: Served) -> None:
    """While a transaction of client one is open, client two and a station are answered; another of one waits."""
    database = running.cloud.database
    clients = Clients(database)
    one, two = (clients.add(name, 1) for name in ("one", "two"))
    station = running.key("signs-1")
    body = json.dumps({"events": [_event("1-1", "1")]}).encode()
    again = Crowd(running.site.cloud_port)
    waiting = threading.Thread(target=again.send_all, args=([[Events(one.token, body)]],))
    with database.writing(one.client_id) as connection:
        connection.execute("INSERT INTO intake (client_id, last_event, last_failed) VALUES (?, 0, 0)", (one.client_id,))
        others = Crowd(running.site.cloud_port)
        others.send_all([[Events(two.token, body)], [Events(station, body)]])
        assert others.broken == 0
        assert others.inserted == 2
        waiting.start()
        time.sleep(0.5)
        assert again.inserted == 0
    waiting.join()
    assert again.inserted == 1
