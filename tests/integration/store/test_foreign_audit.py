"""Foreign events under audit: whatever was changed behind the cloud's back is found, and figures are made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from aquasmart_cloud.core.errors import ClientError
from aquasmart_cloud.store.foreign_auditing import ForeignAudit, rebuild_sender, verify_sender
from tests.integration.cloud.senders import CloudUnderTest
from tests.integration.cloud.test_foreign_store import Client, event, person

DAY_S = 86_400
START_S = 1_709_287_200
COUNT = 60


@pytest.fixture
def client(cloud: CloudUnderTest) -> Client:
    """Events of several days, metrics and stations, some failed, one corrected, one dismissed, one repeated."""
    made = Client(cloud)
    events = [
        event(
            id=str(number),
            metric=("Sale", "tip")[number % 2],
            station=(None, "tap-1", "Tap-2")[number % 3],
            amount=f"{number + 1}.25",
            timestamp=START_S + number * DAY_S // 9,
        )
        for number in range(COUNT)
    ]
    made.send({"events": events})
    made.send({"events": [*events[:3], {}, event(amount="?"), event(id="x", metric="")]})
    assert person(cloud, f"/api/failed-events/{made.client_id}.1/dismiss", {"reason": "empty"}).status_code == 200
    edited = {"event": event(id="edited", amount=5)}
    assert person(cloud, f"/api/failed-events/{made.client_id}.2/reprocess", edited).status_code == 201
    return made


def audit(client: Client) -> ForeignAudit:
    return verify_sender(client.cloud.database, client.client_id)


def change(client: Client, statement: str) -> None:
    with client.cloud.database.writing() as connection:
        assert connection.execute(statement).rowcount > 0


def figures(client: Client) -> list[Any]:
    return sorted(client.cloud.query("SELECT * FROM foreign_rollup"))


def test_what_is_as_it_came_has_no_finding(client: Client) -> None:
    before, told = client.cloud.stored(), list[tuple[int, int]]()
    found = verify_sender(client.cloud.database, client.client_id, lambda *each: told.append(each))
    assert found.findings == []
    assert (found.events, found.failures, found.missing) == (COUNT + 1, 3, 0)
    assert told[-1] == (COUNT + 1, COUNT + 1)
    assert rebuild_sender(client.cloud.database, client.client_id) == []
    assert client.cloud.stored() == before


DAMAGES = [
    "UPDATE foreign_rollup SET events = events + 1 WHERE grain = 'hour'",
    "UPDATE foreign_rollup SET amount_sum = '0.5' WHERE grain = 'day' AND metric = 'tip'",
    "UPDATE foreign_rollup SET sketch = '' WHERE grain = 'minute'",
    "UPDATE foreign_rollup SET bucket_at = bucket_at + 864000000",
    "DELETE FROM foreign_rollup WHERE grain = 'hour'",
    "DELETE FROM foreign_rollup",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_figures_are_found_and_made_again(client: Client, damage: str) -> None:
    right = figures(client)
    change(client, damage)
    assert figures(client) != right
    assert {finding.what for finding in audit(client).findings} == {"rollup"}
    assert rebuild_sender(client.cloud.database, client.client_id)
    assert figures(client) == right
    assert audit(client).findings == []


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("UPDATE foreign_event SET raw = '{}' WHERE event_seq = 3", {"identity"}),
        ("DELETE FROM row_identity WHERE event_seq = 5", {"identity"}),
        ("UPDATE foreign_event SET metric = 'other' WHERE event_seq = 4", {"event", "rollup"}),
        ("UPDATE foreign_event SET amount = '7' WHERE event_seq = 4", {"event", "rollup"}),
        ("UPDATE intake SET last_event = 2", {"failure", "numbers"}),
        ("UPDATE intake SET last_failed = 2", {"numbers"}),
        ("UPDATE failed_event SET raw = '{\"a\":1}' WHERE failed_seq = 3", {"failure"}),
        ("UPDATE failed_event SET event_seq = NULL WHERE failed_seq = 2", {"failure"}),
    ],
)
def test_what_a_rebuild_cannot_cure_is_found_and_left(client: Client, damage: str, what: set[str]) -> None:
    change(client, damage)
    before = client.cloud.stored()
    assert {finding.what for finding in audit(client).findings} == what
    with pytest.raises(ClientError, match="does not hold"):
        rebuild_sender(client.cloud.database, client.client_id)
    assert client.cloud.stored() == before


def test_events_that_were_let_go_are_said_and_nothing_is_rebuilt(client: Client) -> None:
    change(client, "DELETE FROM foreign_event WHERE event_seq < 11")
    right = figures(client)
    found = audit(client)
    assert (found.findings, found.missing) == ([], 10)
    assert found.document()["books_verified"] is False
    assert rebuild_sender(client.cloud.database, client.client_id) == []
    assert figures(client) == right


def test_a_client_that_sends_on_counts_on(client: Client) -> None:
    change(client, "UPDATE foreign_rollup SET events = events + 1")
    rebuild_sender(client.cloud.database, client.client_id)
    assert client.send(event(id="later", amount=1)).status_code == 201
    assert audit(client).findings == []


def test_the_commands(client: Client, command: Callable[..., tuple[int, str, str]]) -> None:
    client.cloud.station("demo-9")
    code, out, err = command("audit", "verify", client.client_id)
    assert (code, err) == (0, "")
    assert f"{client.client_id}: {COUNT + 1} foreign events, 3 that failed" in out
    code, out, _ = command("audit", "verify", "--all", "--json")
    assert code == 0
    assert [next(iter(json.loads(line).values())) for line in out.splitlines()] == ["demo-9", client.client_id]
    change(client, "DELETE FROM foreign_rollup")
    code, out, err = command("audit", "verify", client.client_id, "--json")
    assert code == 1
    assert json.loads(out)["findings"]
    assert f"rebuild {client.client_id}" in err
    code, out, _ = command("rebuild", client.client_id, "--json")
    assert (code, json.loads(out)["rebuilt"]) == (0, True)
    code, out, _ = command("rebuild", client.client_id)
    assert "nothing to do" in out
    code, _, err = command("audit", "verify", "c_nobody")
    assert (code, "has sent no events" in err) == (1, True)
    code, _, err = command("audit", "verify")
    assert code == 2
