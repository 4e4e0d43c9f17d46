"""The audit finds whatever was changed behind the cloud's back, and a rebuild makes the books again from the bodies."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from aquasmart_cloud.core.errors import StationError
from aquasmart_cloud.store.auditing import Audit, verify_station
from aquasmart_cloud.store.rebuilding import rebuild_station
from tests.integration.cloud.senders import NOW_MS, CloudUnderTest, Run, Sender
from tests.integration.store.test_books import BASE

BOOKS = ("stream", "epoch", "ledger_interval", "rollup")


def audit(cloud: CloudUnderTest) -> Audit:
    return verify_station(cloud.database, cloud.stations, "demo-1")


def rebuild(cloud: CloudUnderTest) -> int:
    return len(rebuild_station(cloud.database, cloud.stations, "demo-1", NOW_MS))


def change(cloud: CloudUnderTest, statement: str) -> None:
    with cloud.database.writing() as connection:
        assert connection.execute(statement).rowcount > 0


def books(cloud: CloudUnderTest) -> dict[str, list[tuple[object, ...]]]:
    found = {table: sorted(cloud.query(f"SELECT * FROM {table}"), key=repr) for table in BOOKS}
    return found | {"station": cloud.query("SELECT events, volume_ul, disputed_ul FROM station")}


def test_what_is_as_it_came_has_no_finding(filled: CloudUnderTest) -> None:
    before = filled.stored()
    found = audit(filled)
    assert found.findings == ()
    assert (found.batches, found.missing) == (filled.one("SELECT count(*) FROM batch"), 0)
    assert found.events == filled.one("SELECT events FROM station")
    assert found.document()["books_verified"] is True
    assert rebuild(filled) == 0
    assert filled.stored() == before


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE batch SET timestamp_ms = timestamp_ms + 1 WHERE from_seq = 1", {"signature"}),
        ("UPDATE batch SET counts_through = counts_through + 1 WHERE from_seq = 1", {"body"}),
        ("UPDATE station_key SET key_id = 'k2'", {"signature"}),
    ],
)
def test_what_a_station_signed_cannot_be_changed_unseen(filled: CloudUnderTest, statement: str, what: set[str]) -> None:
    change(filled, statement)
    found = audit(filled)
    assert {finding.what for finding in found.findings} == what
    with pytest.raises(StationError, match="do not hold"):
        rebuild(filled)


def test_a_body_that_was_exchanged_is_found(filled: CloudUnderTest) -> None:
    with filled.database.writing() as connection:
        connection.execute("UPDATE batch SET encoding = '-', body = ? WHERE from_seq = 1", (b'{"meta": 1}',))
    assert {"signature", "body"} <= {finding.what for finding in audit(filled).findings}


def test_a_batch_that_no_request_explains_is_found(filled: CloudUnderTest) -> None:
    change(
        filled,
        "INSERT INTO batch SELECT station_id, stream, from_seq + 9999, through_seq + 9999, counts_from,"
        " counts_through, at_from, at_to, believed_shift_ms, rows, received_at, key_id, timestamp_ms, target, encoding,"
        " idempotency_key, if_match, signature, body FROM batch WHERE from_seq = 1",
    )
    assert {finding.what for finding in audit(filled).findings} == {"log"}


DAMAGES = {
    "a total": ("UPDATE station SET volume_ul = volume_ul + 1", "totals"),
    "a rollup": ("UPDATE rollup SET volume_ul = volume_ul - 1 WHERE grain = 'hour'", "rollup"),
    "a rollup that is gone": ("DELETE FROM rollup WHERE grain = 'day'", "rollup"),
    "an interval": ("UPDATE ledger_interval SET to_counts = to_counts - 1", "ledger_interval"),
    "all intervals": ("DELETE FROM ledger_interval", "ledger_interval"),
    "a mark": ("UPDATE stream SET mark_seq = mark_seq + 1", "stream"),
    "an epoch": ("UPDATE epoch SET shift_counts = shift_counts + 1 WHERE epoch <> root_epoch", "epoch"),
    "a hole": ("UPDATE ledger_entry SET volume_ul = volume_ul + 1 WHERE kind = 'hole' AND state = 'open'", "holes"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_books_are_found_and_made_again(filled: CloudUnderTest, damage: str) -> None:
    statement, what = DAMAGES[damage]
    before, entries = books(filled), filled.entries()
    change(filled, statement)
    assert {finding.what for finding in audit(filled).findings} == {what}
    assert rebuild(filled) > 0
    assert (books(filled), filled.entries()) == (before, entries)
    assert audit(filled).findings == ()
    filled.assert_books_balance()


def test_a_hole_that_people_explained_stays_explained(filled: CloudUnderTest) -> None:
    change(filled, "UPDATE ledger_entry SET state = 'explained', note = 'flushed' WHERE kind = 'hole'")
    assert audit(filled).findings == ()
    change(filled, "UPDATE station SET volume_ul = 0")
    assert rebuild(filled) == 1
    assert filled.one("SELECT count(*) FROM ledger_entry WHERE kind = 'hole' AND state = 'open'") == 0


def test_batches_that_were_let_go_are_said_and_nothing_is_rebuilt(filled: CloudUnderTest) -> None:
    change(filled, "DELETE FROM batch WHERE from_seq = 1")
    found = audit(filled)
    assert found.missing > 0
    assert found.document()["books_verified"] is False
    before = books(filled)
    with pytest.raises(StationError, match="kept no more"):
        rebuild(filled)
    assert books(filled) == before


def test_a_station_that_sends_on_counts_on(filled: CloudUnderTest, sender: Sender) -> None:
    change(filled, "DELETE FROM ledger_interval")
    rebuild(filled)
    sender.take(Run(BASE + 2_000).batch([4, 4]))
    assert audit(filled).findings == ()
    filled.assert_books_balance()


def test_an_unknown_station_is_named(cloud: CloudUnderTest) -> None:
    with pytest.raises(StationError, match="no station"):
        audit(cloud)


def test_the_commands(filled: CloudUnderTest, command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = command("audit", "verify", "demo-1")
    assert code == 0, err
    assert "every signature holds" in out
    change(filled, "UPDATE station SET volume_ul = volume_ul + 5")
    code, out, err = command("audit", "verify", "demo-1")
    assert code == 1
    assert "totals" in out
    assert "rebuild demo-1" in err
    code, out, _ = command("audit", "verify", "demo-1", "--json")
    assert (code, len(json.loads(out)["findings"])) == (1, 1)
    code, out, _ = command("rebuild", "demo-1", "--json")
    assert (code, json.loads(out)) == (0, {"station_id": "demo-1", "rebuilt": True, "differences": 1})
    assert "nothing to do" in command("rebuild", "demo-1")[1]
    assert command("audit", "verify", "nobody")[0] == 1
