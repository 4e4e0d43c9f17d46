"""The books: what is counted, what is named, and that neither order, repetition nor rollback changes the sum."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract import reference as ref
from tests.contract.messages import header, meterless_header
from tests.integration.cloud.senders import NOW_MS, CloudUnderTest, Run, Sender
from tests.integration.store.stores import Store

BASE = 1_000_000
DAY_MS = 86_400_000


def ul(low: int, high: int) -> int:
    """The contract's price, K = 450, of positions after the baseline."""
    return ref.volume_ul(BASE + low, BASE + high, 20_000, 9)


def total(cloud: CloudUnderTest) -> int:
    return int(cloud.one("SELECT volume_ul FROM station WHERE station_id = 'demo-1'"))


def test_rows_of_one_run_are_one_interval(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    for _ in range(5):
        said = sender.take(run.batch([1, 0, 3]), packed=True)
    assert said["acked_through"] == 15
    assert (said["counts_through"], said["cumulative_ul"]) == (BASE + 20, ul(0, 20))
    assert cloud.one("SELECT count(*) FROM batch") == 5
    assert cloud.one("SELECT count(*) FROM ledger_interval") == 1
    assert total(cloud) == ul(0, 20)
    cloud.assert_books_balance()


def test_a_minute_gets_what_flowed_in_it(cloud: CloudUnderTest, sender: Sender) -> None:
    minute = NOW_MS // 60_000 * 60_000 - 60_000
    run = Run(BASE, at=minute - 250)
    sender.take(run.batch([1, 2, 4, 8, 16]))
    found = cloud.query("SELECT bucket_at, volume_ul, events FROM rollup WHERE grain = 'minute' ORDER BY bucket_at")
    assert found == [(minute - 60_000, ul(0, 7), 3), (minute, ul(7, 31), 2)]


def test_a_rolled_back_card_counts_nothing_twice(cloud: CloudUnderTest, sender: Sender) -> None:
    first = Run(BASE)
    sender.take(first.batch([10] * 10))
    restored = Run(BASE + 50, at=NOW_MS - 20_000)
    sender.take(restored.batch([70, 5], rows=[{"row": 0, "kind": "catch_up"}]))
    assert total(cloud) == ul(0, 125)
    assert cloud.entries() == {"overlap": ul(50, 100)}
    detail = cloud.detail("overlap")
    assert detail["booked_by"] == first.header["id"].replace("-", "")
    cloud.assert_books_balance()


def test_the_same_in_the_other_order_names_nothing_and_moves_the_minute(cloud: CloudUnderTest, sender: Sender) -> None:
    late = Run(BASE, at=NOW_MS - 30_000)
    sender.take(late.batch([100, 5], rows=[{"row": 0, "kind": "catch_up"}]))
    live = Run(BASE, at=NOW_MS - 10 * 60_000)
    sender.take(live.batch([10] * 8))
    assert total(cloud) == ul(0, 105)
    assert cloud.entries() == {}
    minute = (NOW_MS - 10 * 60_000) // 60_000 * 60_000
    assert cloud.one("SELECT volume_ul FROM rollup WHERE grain = 'minute' AND bucket_at = ?", minute) == ul(0, 80)
    cloud.assert_books_balance()


def test_a_hole_shrinks_splits_and_closes(cloud: CloudUnderTest, sender: Sender) -> None:
    sender.take(Run(BASE).batch([10]))
    sender.take(Run(BASE + 40).batch([10]))
    assert cloud.entries() == {"hole": ul(10, 40)}
    sender.take(Run(BASE + 20).batch([5]))
    assert cloud.entries() == {"hole": ul(10, 20) + ul(25, 40)}
    assert cloud.one("SELECT count(*) FROM ledger_entry WHERE kind = 'hole'") == 2
    sender.take(Run(BASE + 10).batch([30]))
    assert cloud.entries() == {"overlap": ul(20, 25)}
    assert cloud.query(
        "SELECT DISTINCT state, closed_by, volume_ul, closed_at FROM ledger_entry WHERE kind = 'hole'"
    ) == [("closed", "rows", 0, NOW_MS)]
    assert total(cloud) == ul(0, 50)
    cloud.assert_books_balance()


def test_a_claim_is_named_once_and_grows(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    sender.take(run.batch([10]))
    run.position += 5
    higher = run.batch([1])
    assert sender.take(higher)["counts_through"] == BASE + 16
    sender.take(higher)
    run.position -= 3
    sender.take(run.batch([1]))
    assert cloud.entries() == {"claim-difference": ul(10, 15) + ul(13, 16), "hole": ul(10, 13) + ul(14, 15)}
    assert cloud.detail("claim-difference")["times"] == 2
    assert cloud.one("SELECT count(*) FROM ledger_entry WHERE kind = 'claim-difference'") == 1
    cloud.assert_books_balance()


def test_a_claim_of_the_first_row_is_compared_with_the_opening(cloud: CloudUnderTest, sender: Sender) -> None:
    sender.take(Run(BASE).batch([10], counts_before=BASE + 4))
    assert cloud.entries() == {"claim-difference": ul(0, 4), "hole": ul(0, 4)}


def test_repeated_rows_that_differ_are_named_once(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    first = run.batch([1, 1, 1])
    sender.take(first)
    sender.take(run.batch([2, 2]))
    other = first | {"counts": [1, 2, 0], "rows": [{"row": 2, "kind": "pour"}]}
    for _ in range(3):
        assert sender.take(other)["inserted"] == 0
    assert cloud.one("SELECT count(*) FROM ledger_entry") == 1
    assert cloud.detail("row-difference") == {
        "stream": run.header["id"].replace("-", ""),
        "seq": 2,
        "rows": 2,
        "what": ["counts", "kind"],
    }
    assert total(cloud) == ul(0, 7)


def test_repeats_across_several_stored_batches_are_compared(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    whole = Run(BASE).batch([1, 1, 1, 1, 1, 1]) | {"stream": run.header}
    for _ in range(3):
        sender.take(run.batch([1, 1]), packed=True)
    assert sender.take(whole) | {"inserted": 0, "duplicates": 6} == sender.take(whole)
    assert cloud.entries() == {}
    sender.take(whole | {"rows": [{"row": 4, "kind": "leak"}]})
    assert cloud.detail("row-difference")["seq"] == 5


def test_a_straddling_batch_is_kept_from_its_first_new_seq(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    first = run.batch([1, 1, 1])
    sender.take(first)
    straddling = first | {"counts": [1, 1, 1, 4, 5], "dt": [0, 100, 100, 100, 100]}
    said = sender.take(straddling)
    assert (said["inserted"], said["duplicates"]) == (2, 3)
    found = cloud.query("SELECT from_seq, through_seq, counts_from, counts_through FROM batch ORDER BY from_seq")
    assert found == [(1, 3, BASE, BASE + 3), (4, 5, BASE + 3, BASE + 12)]
    assert cloud.one("SELECT events FROM station") == 5


def test_a_batch_that_inserts_nothing_is_not_kept(cloud: CloudUnderTest, sender: Sender) -> None:
    batch = Run(BASE).batch([1, 1])
    sender.take(batch)
    before = cloud.stored()
    for _ in range(3):
        assert sender.take(batch)["inserted"] == 0
    assert cloud.stored() == before


def test_disputed_counts_are_counted_and_shown_apart(cloud: CloudUnderTest, sender: Sender) -> None:
    sender.take(Run(BASE).batch([5, 900, 5], rows=[{"row": 1, "kind": "disputed"}]))
    assert cloud.query("SELECT volume_ul, disputed_ul FROM station") == [(ul(0, 910), ul(5, 905))]
    assert cloud.entries() == {"disputed": ul(5, 905)}
    cloud.assert_books_balance()


def test_what_no_pipe_carries_is_taken_as_disputed(cloud: CloudUnderTest, sender: Sender) -> None:
    said = sender.take(Run(BASE).batch([5, 1_000_000, 5]))
    assert said["inserted"] == 3
    assert cloud.one("SELECT disputed_ul FROM station") == ul(5, 1_000_005)
    cloud.assert_books_balance()


def test_a_reset_names_its_unmeasured_time_with_its_bound(cloud: CloudUnderTest, sender: Sender) -> None:
    sender.take(Run(BASE).batch([5]))
    epoch = "6d1d6a0e-5c1f-4f7e-8a37-0f1be1a3c0ff"
    data = {"unmeasured_ms": 1_500, "unmeasured_bound_ul": 1_875_000, "before": BASE + 5}
    after = Run(0, epoch=epoch, epoch_from=0)
    batch = after.batch([4], rows=[{"row": 0, "kind": "reset", "data": data}])
    sender.take(batch)
    sender.take(batch)
    assert cloud.entries() == {"unmeasured": 1_875_000}
    assert cloud.detail("unmeasured")["unmeasured_ms"] == 1_500
    assert total(cloud) == ul(0, 5) + ref.volume_ul(0, 4, 20_000, 9)
    cloud.assert_books_balance()


def test_a_reset_whose_data_is_nonsense_is_taken(cloud: CloudUnderTest, sender: Sender) -> None:
    data = {"unmeasured_ms": "long", "unmeasured_bound_ul": -4}
    sender.take(Run(BASE).batch([4], rows=[{"row": 0, "kind": "reset", "data": data}]))
    assert cloud.entries() == {"unmeasured": 0}


STRONG = {"identity": {"kind": "strong", "value": "SN 4711"}}
SECOND_EPOCH = "6d1d6a0e-5c1f-4f7e-8a37-0f1be1a3c0aa"
BASELINE = [{"row": 0, "kind": "baseline"}]


def test_a_dead_card_of_a_known_meter_costs_a_named_hole(cloud: CloudUnderTest, sender: Sender) -> None:
    old = Run(BASE, **STRONG)
    sender.take(old.batch([10, 10]))
    lost = old.batch([30, 30])
    fresh = Run(BASE + 80, epoch=SECOND_EPOCH, epoch_from=BASE + 80, **STRONG)
    sender.take(fresh.batch([0, 7], rows=BASELINE))
    assert cloud.entries() == {"hole": ul(20, 80)}
    assert total(cloud) == ul(0, 20) + ul(80, 87)
    cloud.assert_books_balance()
    sender.take(lost)  # the old card, drained in another board
    assert cloud.entries() == {}
    assert total(cloud) == ul(0, 87)
    cloud.assert_books_balance()


def test_an_alias_follows_the_register_over_its_end(cloud: CloudUnderTest, sender: Sender) -> None:
    modulus = 1_001_000
    old = Run(BASE, modulus=modulus, **STRONG)
    sender.take(old.batch([500, 1_000]))
    fresh = Run(700, epoch=SECOND_EPOCH, epoch_from=700, modulus=modulus, **STRONG)
    said = sender.take(fresh.batch([0, 9], rows=BASELINE))
    assert said["cumulative_ul"] == ref.volume_ul(700, 709, 20_000, 9)
    [(root, shift)] = cloud.query("SELECT root_epoch, shift_counts FROM epoch WHERE epoch <> root_epoch")
    assert (root, shift) == (old.header["epoch"].replace("-", ""), modulus)
    assert cloud.entries() == {"hole": ref.volume_ul(500, 700, 20_000, 9)}
    assert total(cloud) == ul(0, 1_500) + ref.volume_ul(700, 709, 20_000, 9)
    cloud.assert_books_balance()


def test_a_weak_identity_is_a_new_life_with_something_unknown_before(cloud: CloudUnderTest, sender: Sender) -> None:
    sender.take(Run(BASE).batch([10]))
    fresh = Run(BASE + 80, epoch=SECOND_EPOCH, epoch_from=BASE + 80)
    sender.take(fresh.batch([0, 7], rows=BASELINE))
    assert cloud.entries() == {"unknown-before": 0}
    assert total(cloud) == ul(0, 10) + ul(80, 87)
    cloud.assert_books_balance()


def test_the_first_epoch_of_a_meter_misses_nothing(cloud: CloudUnderTest, sender: Sender) -> None:
    sender.take(Run(BASE, **STRONG).batch([0, 7], rows=BASELINE))
    assert cloud.entries() == {}


def test_the_same_epoch_begun_anew_leaves_a_hole(cloud: CloudUnderTest, sender: Sender) -> None:
    sender.take(Run(BASE).batch([10]))
    sender.take(Run(BASE + 50, epoch_from=BASE + 50).batch([0, 5], rows=BASELINE))
    assert cloud.entries() == {"hole": ul(10, 50)}
    sender.take(Run(BASE - 20, epoch_from=BASE - 20).batch([5]))
    assert cloud.entries() == {"hole": ul(10, 50) + ul(-15, 0)}
    cloud.assert_books_balance()


def test_two_boards_in_turns_are_suspected(cloud: CloudUnderTest, sender: Sender) -> None:
    one = Run(BASE, at=NOW_MS - 50_000)
    other = Run(BASE + 10, at=NOW_MS - 40_000, hardware_id="another")
    sender.take(one.batch([10]))
    sender.take(other.batch([10]))
    assert cloud.entries() == {}
    one.at = NOW_MS - 30_000
    sender.take(one.batch([10]))
    assert cloud.entries() == {"clone-suspected": 0, "overlap": ul(10, 20)}
    assert json.loads(cloud.one("SELECT hardware_seen FROM station")) == ["9f86d081884c7d65", "another"]
    cloud.assert_books_balance()


def test_a_card_moved_to_another_board_is_not(cloud: CloudUnderTest, sender: Sender) -> None:
    old = Run(BASE, at=NOW_MS - 50_000)
    sender.take(old.batch([10]))
    rest = old.batch([10])
    sender.take(Run(BASE + 20, at=NOW_MS - 20_000, hardware_id="another").batch([5]))
    sender.take(rest)
    assert cloud.entries() == {}


def test_the_stream_without_a_meter_touches_no_book(cloud: CloudUnderTest, sender: Sender) -> None:
    boot = {
        "stream": meterless_header(),
        "counts_before": 0,
        "rows": [{"row": 0, "kind": "boot", "data": {"cause": "power"}}],
    }
    said = sender.take(Run(0).batch([0, 0], **boot))
    assert (said["inserted"], said["cumulative_ul"]) == (2, 0)
    assert cloud.stored() | {"epoch": 0, "ledger_interval": 0, "notable": 1} == cloud.stored()
    cloud.assert_books_balance()
    known = {"stream": {"id": meterless_header()["id"]}, "first_seq": 3, "counts_before": 0}
    assert sender.send(Run(0).batch([1], **known)).status_code == 422


def test_notable_rows_are_kept_with_seq_flags_and_data(cloud: CloudUnderTest, sender: Sender) -> None:
    rows = [
        {"row": 0, "kind": "gap", "seqs": 5},
        {"row": 1, "kind": "heartbeat"},
        {"row": 2, "kind": "pour", "data": {"ul": 7}},
        {"row": 3, "kind": "telepathy"},
    ]
    sender.take(Run(BASE).batch([9, 0, 0, 0], rows=rows, flags=[[0, 1], [3, 16]]))
    found = cloud.query("SELECT seq, kind, flags, data, meter_id FROM notable ORDER BY seq")
    assert found == [
        (5, "gap", 1, None, "tap-1"),
        (7, "pour", 1, '{"ul":7}', "tap-1"),
        (8, "telepathy", 16, None, "tap-1"),
    ]


def _interleaving(chance: random.Random) -> list[dict[str, Any]]:
    """Batches of a few runs over the same counts, cut anew on retries, in an order that loss and rollback make."""
    sent: list[dict[str, Any]] = []
    for _ in range(chance.randint(1, 4)):
        opening = BASE + chance.randint(0, 60)
        scale = {"ul_num": 2_500, "den": 1} if chance.random() < 0.3 else {"ul_num": 20_000, "den": 9}
        run = Run(opening, at=NOW_MS - chance.randint(60_000, 10 * DAY_MS), scale=scale)
        for number in range(chance.randint(1, 4)):
            counts = [chance.choice((0, 0, 1, 2, 7)) for _ in range(chance.randint(1, 6))]
            rows = []
            if chance.random() < 0.6:
                kind = "catch_up" if number == 0 else chance.choice(("gap", "merged", "disputed", "pour"))
                entry = {"row": 0 if number == 0 else chance.randrange(len(counts)), "kind": kind}
                rows = [entry | ({"seqs": chance.randint(1, 4)} if kind in {"gap", "merged"} else {})]
            sent.append(run.batch(counts, rows=rows, dt=[0] + [chance.choice((100, 40_000))] * (len(counts) - 1)))
    return sent


@given(chance=st.randoms(use_true_random=False))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_order_repetition_rollback_and_overlap_books_each_position_once(
    store: Store, chance: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder, store.cloud(Path(folder)) as cloud:
        sender = cloud.station()
        batches = _interleaving(chance)
        pending = batches + [chance.choice(batches) for _ in range(len(batches))]
        chance.shuffle(pending)
        covered: set[int] = set()
        # A gap in the numbers is refused until what is before it has come: send in rounds, as a station does.
        for _ in range(len(batches) + 1):
            for document in pending:
                answer = sender.send(document)
                assert answer.status_code in {200, 409}, answer.text
                if answer.status_code == 200:
                    covered |= set(
                        range(document["counts_before"], document["counts_before"] + sum(document["counts"]))
                    )
            cloud.assert_books_balance()
        booked = cloud.query("SELECT from_counts, to_counts FROM ledger_interval")
        assert {position for low, high in booked for position in range(low, high)} == covered
        before = total(cloud)
        for document in pending:
            assert sender.take(document)["inserted"] == 0
        assert total(cloud) == before


def test_the_header_a_stream_began_with_stays(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    sender.take(run.batch([10]))
    sender.take(run.batch([10], stream=header(id=run.header["id"], scale={"ul_num": 1, "den": 1})))
    assert total(cloud) == ul(0, 20)
