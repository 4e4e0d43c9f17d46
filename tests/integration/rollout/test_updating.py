"""One station, one bundle, from the operator's command to the new image; and every way in which it ends otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.rollout.scenes import AGENT, OLD, Board, Fleet, window
from tests.integration.world import eventually

pytestmark = pytest.mark.e2e
MakeBoard = Callable[..., Board]
NEW = {"version": "1.5.0", "number": 13, "compatible": "aquasmart-test"}
ALL_THE_WAY = ["downloading", "downloaded", "installing", "installed", "good"]


def test_an_update_from_the_command_to_the_new_image(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("happy"), fleet.bundle()
    board.run()
    rollout_id = fleet.start(bundle, "happy")
    eventually(board.reboots, "the board restarted")
    assert board.installed() == bundle.path.read_bytes()
    fleet.await_state(rollout_id, board, "installed")
    board.boot(NEW, good=False)
    eventually(lambda: "trial" in board.agent_says(), "the new image on trial")
    assert fleet.states(rollout_id)[board.station_id] == "installed"
    board.mark_good(13)
    fleet.await_state(rollout_id, board, "good")
    assert fleet.told(board, rollout_id) == ALL_THE_WAY == board.results()
    shown = fleet.show(rollout_id)
    assert (shown["state"], shown["counts"]) == ("finished", {"good": 1})
    assert not board.whole.exists()
    assert not board.part.exists()
    assert board.reboots() == 1


def test_a_new_image_that_does_not_prove_itself_is_told(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("falls"), fleet.bundle()
    board.run()
    rollout_id = fleet.start(bundle, "falls")
    eventually(board.reboots, "the board restarted")
    board.boot(OLD, good=False)
    fleet.await_state(rollout_id, board, "fell-back")
    shown = fleet.show(rollout_id)
    assert (shown["state"], shown["changed_by"]) == ("stopped", "itself")
    assert f"canary {board.station_id} fell back" in shown["reason"]
    assert board.results() == [*ALL_THE_WAY[:-1], "fell-back"]


@pytest.mark.parametrize(
    ("order", "ends"),
    [("refuse", ("refused", "self-signed certificate")), ("fail", ("failed", "Failed mounting slot"))],
)
def test_what_rauc_does_not_take_is_told_in_its_words(
    make_board: MakeBoard, fleet: Fleet, order: str, ends: tuple[str, str]
) -> None:
    board, bundle = make_board(order), fleet.bundle()
    board.order(order)
    board.run()
    rollout_id = fleet.start(bundle, order)
    fleet.await_state(rollout_id, board, ends[0])
    [station] = fleet.show(rollout_id)["stations"]
    assert ends[1] in station["detail"]
    assert (board.installed(), board.reboots()) == (b"", 0)
    eventually(lambda: not board.whole.exists(), "its file removed")


def test_an_installation_that_cannot_be_begun_now_is_tried_again_later(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("busy"), fleet.bundle()
    board.order("busy")
    board.run()
    rollout_id = fleet.start(bundle, "busy")
    eventually(lambda: board.calls("install") >= 4, "more tries than those that are given up")
    eventually(lambda: board.progress()["installs"] == 0, "no try counted")
    board.order("")
    fleet.await_state(rollout_id, board, "installed")
    assert board.results() == ALL_THE_WAY[:-1]


@pytest.mark.parametrize(
    ("image", "highest", "says"),
    [
        (None, 0, "not made from an image"),
        (OLD | {"compatible": "aquasmart-other"}, 12, "this station is aquasmart-other"),
        (OLD, 14, "not above 14"),
        (OLD | {"number": 15}, 0, "not above 15"),
    ],
)
def test_what_is_not_for_this_station_is_refused_before_a_byte_is_fetched(
    make_board: MakeBoard, fleet: Fleet, image: dict[str, object] | None, highest: int, says: str
) -> None:
    group = f"not-for-{says[-2:]}"
    board, bundle = make_board(group), fleet.bundle()
    (board.root / "image.json").unlink()
    if image is not None:
        board.image(**image)
    board.mark_good(highest)
    board.run()
    rollout_id = fleet.start(bundle, group)
    fleet.await_state(rollout_id, board, "refused")
    [station] = fleet.show(rollout_id)["stations"]
    assert says in station["detail"]
    assert board.cuts() == []


def test_a_bundle_that_says_one_thing_and_holds_another_is_refused(make_board: MakeBoard, fleet: Fleet) -> None:
    board = make_board("liar")
    bundle = fleet.bundle("1.5.0", 13)
    fleet.house.sql("UPDATE bundle SET number = 99 WHERE sha256 = ?", values=(bundle.sha256,))
    board.run()
    rollout_id = fleet.start(bundle, "liar")
    fleet.await_state(rollout_id, board, "refused")
    [station] = fleet.show(rollout_id)["stations"]
    assert "manifest says 1.5.0, number 13" in station["detail"]
    assert board.installed() == b""
    fleet.house.sql("UPDATE bundle SET number = 13 WHERE sha256 = ?", values=(bundle.sha256,))


def test_the_window_is_kept_and_a_downloaded_bundle_waits_for_the_next(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("window"), fleet.bundle()
    board.run()
    rollout_id = fleet.start(bundle, "window", at=window(shift_h=6))
    eventually(lambda: "waits for its window" in board.agent_says(), "the agent waits for its window")
    assert (board.cuts(), board.results()) == ([], [])
    board.order("slow")
    fleet.open_window(rollout_id, window())
    eventually(lambda: board.calls("install") == 1, "the installation began")
    board.stop(AGENT)
    fleet.open_window(rollout_id, window(shift_h=6))
    board.order("")
    fetched = board.cuts()
    board.run_agent()
    eventually(lambda: "waits for its window" in board.agent_says(), "the agent waits again")
    assert (board.installed(), board.cuts()) == (b"", fetched)
    fleet.open_window(rollout_id, window())
    eventually(board.reboots, "the board restarted")
    assert board.cuts() == fetched


def test_nothing_is_begun_while_water_runs_or_the_meter_is_not_read(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("water"), fleet.bundle()
    board.run()
    board.with_flow("steady")
    eventually(lambda: (board.flow_ul_s() or 0) > 0, "water runs")
    rollout_id = fleet.start(bundle, "water")
    eventually(lambda: "water r" in board.agent_says(), "the agent waits for the water")
    assert board.cuts() == []
    board.kill("meter")
    eventually(lambda: "is not read now" in board.agent_says(), "the agent waits for the meter")
    board.stop("reader")
    eventually(lambda: "the reader is not running" in board.agent_says(), "the agent waits for the reader", 30)
    assert (board.cuts(), board.results()) == ([], [])
    board.start("reader")
    board.with_flow("idle")
    eventually(board.reboots, "the board restarted")
    fleet.await_state(rollout_id, board, "installed")


def test_a_roll_out_that_was_stopped_ceases_and_resumes_where_it_was(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("stopped"), fleet.bundle(blocks=2_000)
    board.slow_link(0.15)
    board.run()
    rollout_id = fleet.start(bundle, "stopped")
    eventually(lambda: board.part.exists() and board.part.stat().st_size > 500_000, "half a megabyte fetched")
    fleet.cloud("rollout", "stop", str(rollout_id), "--reason", "we saw something")
    eventually(lambda: "stopped" in board.agent_says(), "the agent ceases")
    have = board.part.stat().st_size
    assert have < bundle.size_bytes
    board.stop(AGENT)
    board.run_agent()
    eventually(lambda: "stopped" in board.agent_says(), "the agent still ceases")
    assert board.part.stat().st_size == have
    fleet.cloud("rollout", "resume", str(rollout_id))
    board.slow_link(0.0)
    eventually(board.reboots, "the board restarted")
    assert board.installed() == bundle.path.read_bytes()
    assert board.cuts()[-1][1] == bundle.size_bytes - 1
    assert have in [begin for begin, _ in board.cuts()]
    assert board.results() == ALL_THE_WAY[:-1]


def test_a_canary_that_fails_keeps_the_others_from_it(make_board: MakeBoard, fleet: Fleet) -> None:
    canary, other = make_board("canary"), make_board("canary")
    bundle = fleet.bundle()
    canary.order("fail")
    for board in (canary, other):
        board.run()
    rollout_id = fleet.start(bundle, "canary", "--canary", canary.station_id)
    fleet.await_state(rollout_id, canary, "failed")
    assert fleet.show(rollout_id)["state"] == "stopped"
    eventually(lambda: "nothing is offered" in other.agent_says(), "the other asks")
    assert (other.cuts(), other.results(), fleet.states(rollout_id)[other.station_id]) == ([], [], "")


def test_the_others_follow_when_the_canary_is_good(make_board: MakeBoard, fleet: Fleet) -> None:
    canary, other = make_board("follow"), make_board("follow")
    bundle = fleet.bundle()
    for board in (canary, other):
        board.run()
    rollout_id = fleet.start(bundle, "follow", "--canary", canary.station_id)
    eventually(canary.reboots, "the canary restarted")
    fleet.await_state(rollout_id, canary, "installed")
    assert other.cuts() == []
    canary.boot(NEW, good=True)
    fleet.await_state(rollout_id, canary, "good")
    eventually(other.reboots, "the other restarted")
    other.boot(NEW, good=True)
    fleet.await_state(rollout_id, other, "good")
    eventually(lambda: fleet.show(rollout_id)["state"] == "finished", "the roll-out finished")


def test_it_counts_on_and_the_books_balance_through_an_update(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("counts"), fleet.bundle()
    board.take_baseline()
    board.run()
    rollout_id = fleet.start(bundle, "counts")
    fleet.await_state(rollout_id, board, "installed")
    board.with_flow("steady")
    board.await_flow()
    board.boot(NEW, good=True)
    fleet.await_state(rollout_id, board, "good")
    board.await_flow()
    board.settle()
