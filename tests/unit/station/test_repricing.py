"""A calibration in the books: a stream of its own from the position reached, whatever was under way; counts tile."""

from __future__ import annotations

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.accounting import Account
from aquasmart_station.core.anomaly import Sensitivity
from aquasmart_station.core.model import Board, Draft, Kind, MeterTraits, Reading, Scale
from aquasmart_station.core.observing import MeterObserver
from aquasmart_station.core.watching import WatchSettings

K_450, K_440 = Scale(20000, 9), Scale(25000, 11)
TRAITS = MeterTraits(K_450, 1 << 32, 1_000_000, nonvolatile=True, identity_strong=False)


def observer() -> MeterObserver:
    board = Board("demo-1", "boot", "hardware", "0.1.0")
    account = Account(board=board, meter_id="tap-1", traits=TRAITS, resume=None, new_id=uuid4, clock="ntp")
    return MeterObserver(account, TRAITS, settings=WatchSettings(), sensitivity=Sensitivity(), period_ms=100)


def reading(counts: int, mono_ms: int) -> Reading:
    return Reading(mono_ms * 1_000_000, (1_763_676_000_000 + mono_ms) * 1_000_000, 1_000, "tap-1", "m", counts)


def streams(drafts: list[Draft]) -> list[tuple[UUID, Scale | None, str | None, int, int]]:
    found: dict[UUID, tuple[UUID, Scale | None, str | None, int, int]] = {}
    for draft in drafts:
        header = draft.stream
        found[header.id] = (header.id, header.scale, header.change_token, header.opening_counts, draft.counts)
    return list(found.values())


def test_the_pour_under_way_ends_at_the_former_price() -> None:
    watched = observer()
    drafts = [each for index in range(20) for each in watched.take(reading(1_000 + 3 * index, 1_000 + 100 * index))]
    ended = watched.reprice(K_440, "t", "t")
    assert [each.kind for each in ended] == [Kind.POUR]
    assert ended[0].stream.scale == K_450
    drafts += ended + watched.take(reading(1_060, 3_000)) + watched.take(reading(1_070, 3_100))
    (_, old, none, opening, reached), (_, new, token, begins, _) = streams(drafts)
    assert (old, none, new, token) == (K_450, None, K_440, "t")
    assert (opening, reached, begins) == (1_000, 1_057, 1_057)


def test_the_same_price_opens_nothing_and_only_says_whether_it_is_confirmed() -> None:
    watched = observer()
    drafts = watched.take(reading(1_000, 1_000))
    assert watched.reprice(K_450, None, None) == []
    drafts += watched.take(reading(1_005, 1_100))
    assert len(streams(drafts)) == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([None, K_450, K_440])), min_size=1, max_size=40))
def test_whatever_is_calibrated_when_streams_tile_the_counts(story: list[tuple[int, Scale | None]]) -> None:
    watched, counts, mono_ms = observer(), 1_000, 1_000
    drafts = watched.take(reading(counts, mono_ms))
    for step, scale in story:
        if scale is not None:
            drafts += watched.reprice(scale, "t", "t")
        counts, mono_ms = counts + step, mono_ms + 100
        drafts += watched.take(reading(counts, mono_ms))
    drafts += watched.close()
    found = streams(drafts)
    assert [each[3] for each in found[1:]] == [each[4] for each in found[:-1]]
    assert found[-1][4] == counts
