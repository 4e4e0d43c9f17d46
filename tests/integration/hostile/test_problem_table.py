"""Each row of the problem table (docs/protocol.md §6), said by the real cloud because it is so, to the real sync.

Nothing here is canned: a key is revoked, a station retired, a database restored, locked or broken, a clock shifted, a
row too large. What an answer does at the station is looked up in its own tables, and in the end the books balance.
The same answers without a signature are in test_unsigned_proxy.py.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from aquasmart_cloud.store.policy import limit_rate, require_version
from demo.faults import Exchange, lost_answer
from tests.fakes.wall_clock import shifted
from tests.integration.outpost import Execed, House, Outpost
from tests.integration.poison import TOO_DEEP, append_diagnostics
from tests.integration.wire import Message
from tests.integration.world import eventually

pytestmark = pytest.mark.e2e
MakeOutpost = Callable[..., Outpost]
SOON = {"sync": {"recheck_s": 2}}
"""Holds are looked at again so often where a test waits for it."""


def flowing(outpost: Outpost) -> Outpost:
    """A station that counts, and has delivered some of it."""
    outpost.take_baseline()
    outpost.start("sync")
    eventually(lambda: outpost.books.events() >= 10, "ten events at the cloud")
    return outpost


def problems(outpost: Outpost, code: str) -> list[Exchange]:
    """The ingest requests that were answered with this problem, signed."""
    answered = [exchange for exchange in outpost.ingests() if exchange.status >= 400]
    assert all(b"x-signature" in exchange.answer.lower() for exchange in answered)
    return [exchange for exchange in answered if json.loads(exchange.answer_body)["code"] == code]


def assert_held(outpost: Outpost, code: str) -> None:
    """It holds and says why, keeps everything, gives nothing up, and does not hammer."""
    eventually(lambda: outpost.state() == "hold", f"sync to hold for {code}")
    marks, asked = outpost.log.acknowledged(), len(outpost.ingests())
    outpost.await_flow(15)
    assert outpost.log.acknowledged() == marks
    assert outpost.log.pending() >= 15
    assert outpost.dead_letters() == 0
    assert len(outpost.ingests()) <= asked + 2
    assert code in outpost.said()["text"]
    assert outpost.state() == "hold"


def test_403_revoked_holds_and_a_restored_key_goes_on(make_outpost: MakeOutpost, house: House) -> None:
    outpost = flowing(make_outpost())
    house.stations.revoke(outpost.station_id, None, 1)
    assert_held(outpost, "revoked")
    house.sql("UPDATE station_key SET revoked_at = NULL WHERE station_id = ?", values=(outpost.station_id,))
    outpost.stop("sync")
    outpost.settle()
    assert problems(outpost, "revoked")


def test_410_retired_holds_and_a_station_that_is_taken_back_goes_on(make_outpost: MakeOutpost, house: House) -> None:
    outpost = flowing(make_outpost())
    house.stations.retire(outpost.station_id)
    assert_held(outpost, "retired")
    house.sql("UPDATE station SET state = 'active' WHERE station_id = ?", values=(outpost.station_id,))
    outpost.stop("sync")
    outpost.settle()
    assert problems(outpost, "retired")


def test_401_a_wrong_key_is_shown_as_unverified_and_kept_trying(make_outpost: MakeOutpost) -> None:
    outpost = flowing(make_outpost())
    outpost.stop("sync")
    key_file = outpost.root / "station.key"
    right = key_file.read_text()
    key_file.write_text("5a" * 32 + "\n")
    marks = outpost.log.acknowledged()
    outpost.start("sync")
    eventually(lambda: outpost.state() == "unverified", "sync to say that nothing verifies")
    tried = len(outpost.ingests())
    eventually(lambda: len(outpost.ingests()) >= tried + 2, "two more attempts")
    assert outpost.log.acknowledged() == marks
    assert outpost.dead_letters() == 0
    assert "401" in outpost.said()["text"]
    key_file.write_text(right)
    outpost.stop("sync")
    outpost.settle()


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("shift", ["+400d", "-40y"])
def test_401_clock_skew_is_corrected_once_and_at_once(make_outpost: MakeOutpost, shift: str) -> None:
    outpost = make_outpost()
    outpost.take_baseline()
    outpost.start("sync", launcher=lambda words, log: Execed(words, log, under=shifted(shift)))
    eventually(lambda: outpost.books.events() >= 20, "twenty events at the cloud")
    refused = [exchange for exchange in outpost.relay.exchanges if exchange.status == 401]
    # An ingest and a heartbeat may each meet it before either has learned.
    assert 1 <= len(refused) <= 2
    asked = outpost.ingests()
    if asked[0].status == 401:
        first, second = (Message.parse(exchange.request) for exchange in asked[:2])
        assert asked[1].status == 200
        assert first.body == second.body
        assert abs(int(second.header("X-Timestamp")) - time.time() * 1000) < 60_000
    outpost.settle()


def test_503_from_a_locked_database_is_waited_as_told(make_outpost: MakeOutpost, house: House) -> None:
    outpost = flowing(make_outpost(overrides={"cloud": {"read_timeout_s": 30}}))
    with house.locked():
        eventually(lambda: problems(outpost, "unavailable"), "a signed 503", timeout_s=40)
        marks = outpost.log.acknowledged()
        said_at = time.monotonic()
    told_s = int(Message.parse(problems(outpost, "unavailable")[0].answer).header("retry-after"))
    asked = len(outpost.ingests())
    eventually(lambda: len(outpost.ingests()) > asked, "the next attempt")
    assert time.monotonic() - said_at >= told_s - 0.5
    assert told_s >= 1
    assert outpost.log.acknowledged() in (marks, outpost.log.last_seqs()) or outpost.dead_letters() == 0
    outpost.settle()


def test_500_from_a_cloud_that_is_broken_is_tried_again_for_ever(own_house: House, make_outpost: MakeOutpost) -> None:
    outpost = flowing(make_outpost(at=own_house))
    own_house.sql("UPDATE stream SET ul_num = NULL")
    eventually(lambda: len(problems(outpost, "internal")) >= 3, "three signed 500")
    assert outpost.state() == "offline"
    assert outpost.dead_letters() == 0
    own_house.sql("UPDATE stream SET ul_num = 20000 WHERE den IS NOT NULL")
    eventually(lambda: outpost.ingests()[-1].status == 200, "an answer once it is mended")
    outpost.settle()


def _restored(house: House, copy: Path) -> None:
    """What a restored backup is: another file under the same name, with the cloud stopped meanwhile."""
    house.site.stop("cloud")
    for suffix in ("", "-wal", "-shm"):
        house.database.with_name(house.database.name + suffix).unlink(missing_ok=True)
    house.database.write_bytes(copy.read_bytes())
    house.site.start("cloud")


def _copy(house: House, to: Path) -> Path:
    with closing(sqlite3.connect(house.database)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to


def test_409_sequence_gap_rewinds_to_what_a_restored_cloud_has(
    own_house: House, make_outpost: MakeOutpost, tmp_path: Path
) -> None:
    outpost = flowing(make_outpost(at=own_house))
    copy = _copy(own_house, tmp_path / "yesterday.db")
    eventually(lambda: outpost.books.events() >= 60, "much more at the cloud")
    _restored(own_house, copy)
    eventually(lambda: problems(outpost, "sequence-gap"), "the cloud to miss rows")
    outpost.settle()


def test_409_stream_unknown_brings_the_header_and_then_everything(
    own_house: House, make_outpost: MakeOutpost, tmp_path: Path
) -> None:
    outpost = make_outpost(at=own_house)
    copy = _copy(own_house, tmp_path / "yesterday.db")
    flowing(outpost)
    _restored(own_house, copy)
    eventually(lambda: problems(outpost, "stream-unknown"), "the cloud not to know the stream")
    # The closed streams as well, though none of their rows would ever be sent again by itself.
    eventually(lambda: outpost.books.marks().keys() == outpost.log.last_seqs().keys(), "every stream at the cloud")
    outpost.settle()


def test_413_never_comes_to_that_since_sync_keeps_to_the_limits_by_itself(make_outpost: MakeOutpost) -> None:
    # 15 kB is what one row may carry, and 2,000 such rows are four times what the cloud takes. A signed 413 needs a
    # cloud of other limits: tests/integration/test_signed_answers.py has one.
    outpost = flowing(make_outpost())
    assert outpost.stop("sync") == 0
    assert outpost.stop("reader") == 0
    figures = {f"figure {n}": "x" * 190 for n in range(70)}
    append_diagnostics(outpost.log.path, [figures] * 2_600)
    outpost.start("sync")
    outpost.await_delivered()
    assert {exchange.status for exchange in outpost.ingests()} == {200}
    outpost.assert_balance()


def test_an_answer_lost_after_each_problem_only_repeats_it(make_outpost: MakeOutpost, house: House) -> None:
    outpost = flowing(make_outpost())
    house.stations.retire(outpost.station_id)
    outpost.relay.inject(lost_answer(), lost_answer())
    eventually(lambda: len(problems(outpost, "retired")) >= 3, "the third time the refusal arrives")
    eventually(lambda: outpost.state() == "hold", "sync to hold")
    house.sql("UPDATE station SET state = 'active' WHERE station_id = ?", values=(outpost.station_id,))
    outpost.stop("sync")
    outpost.settle()


def test_426_upgrade_required_holds_until_the_software_is_welcome(own_house: House, make_outpost: MakeOutpost) -> None:
    outpost = flowing(make_outpost(at=own_house, overrides=SOON))
    require_version(own_house.stations._database, "99.0.0", 1)
    assert_held(outpost, "upgrade-required")
    assert "99.0.0" in outpost.said()["text"]
    require_version(own_house.stations._database, None, 2)
    eventually(lambda: outpost.state() == "online", "sync to go on by itself")
    outpost.settle()


def test_429_rate_limited_is_kept_to(own_house: House, make_outpost: MakeOutpost) -> None:
    outpost = flowing(make_outpost(at=own_house))
    limit_rate(own_house.stations._database, "3/second", 1)
    eventually(lambda: len(problems(outpost, "rate-limited")) >= 1, "a signed 429")
    eventually(lambda: outpost.ingests()[-1].status == 200, "an answer after the wait")
    first = next(n for n, exchange in enumerate(outpost.ingests()) if exchange.status == 429)
    refused, following = (Message.parse(exchange.request) for exchange in outpost.ingests()[first : first + 2])
    told_s = int(Message.parse(outpost.ingests()[first].answer).header("retry-after"))
    waited_ms = int(following.header("X-Timestamp")) - int(refused.header("X-Timestamp"))
    assert waited_ms >= told_s * 1000 - 50
    assert outpost.dead_letters() == 0
    limit_rate(own_house.stations._database, None, 2)
    outpost.settle()


@pytest.mark.parametrize("places", [[0], [29], [59], [20, 21]], ids=["head", "middle", "last", "two adjacent"])
def test_422_for_one_row_makes_a_dead_letter_of_it_and_of_no_other(
    make_outpost: MakeOutpost, places: list[int]
) -> None:
    outpost = flowing(make_outpost())
    assert outpost.stop("sync") == 0
    assert outpost.stop("reader") == 0
    figures = [TOO_DEEP if n in places else {"n": n} for n in range(60)]
    stream = append_diagnostics(outpost.log.path, figures)
    outpost.start("sync")
    outpost.await_delivered()
    assert outpost.dead_letters() == len(places)
    assert outpost.books.marks()[stream] == 60
    kept = outpost.books.query(
        "SELECT seq FROM notable WHERE stream = ? AND kind = 'diagnostic'", (stream.replace("-", ""),)
    )
    assert sorted(seq for (seq,) in kept) == [n + 1 for n in range(60) if n not in places]
    assert outpost.books.volume_ul() == outpost.volume_ul()
    assert outpost.books.differences() == {}


def test_422_for_everything_is_a_hold_and_gives_nothing_up(own_house: House, make_outpost: MakeOutpost) -> None:
    # One bad deployment: the price of every known stream is such that no row fits it. Nothing is wrong with any row.
    outpost = flowing(make_outpost(at=own_house, overrides=SOON))
    own_house.sql("UPDATE stream SET ul_num = 9223372036854775807 WHERE ul_num IS NOT NULL")
    eventually(lambda: outpost.state() == "hold", "sync to hold")
    outpost.await_flow(10)
    assert outpost.dead_letters() == 0
    assert "cloud-refuses-everything" in outpost.said()["text"]
    own_house.sql("UPDATE stream SET ul_num = 20000 WHERE ul_num IS NOT NULL")
    eventually(lambda: outpost.state() == "online", "sync to go on by itself")
    outpost.settle()
