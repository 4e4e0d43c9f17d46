"""The way between cloud and station at its worst, and the agent killed anywhere: whole and right, or not installed."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from demo.faults import Exchange, Fault, response
from tests.fakes.tcp_proxy import TcpProxy, Trouble
from tests.fakes.wall_clock import shifted
from tests.integration.rollout.scenes import AGENT, Board, Fleet, window
from tests.integration.test_kill_loop import dice_of_this_run
from tests.integration.transport.authority import Authority
from tests.integration.transport.servers import server, whole_request
from tests.integration.world import eventually

pytestmark = pytest.mark.e2e
MakeBoard = Callable[..., Board]
ASKING = b"GET /v1/"
IMPATIENT = {"cloud": {"connect_timeout_s": 0.5, "read_timeout_s": 0.5}}
BEFORE_BOOT = ["downloading", "downloaded", "installing", "installed"]


def leading_to(port: int) -> Callable[[socket.socket], None]:
    """A server that asks somebody else for every answer."""

    def behave(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port), 10) as behind:
            while request := whole_request(connection):
                behind.sendall(request)
                connection.sendall(whole_request(behind))

    return behave


def whole(board: Board, expected: bytes) -> bool:
    """What was installed is that bundle, once."""
    return board.installed() == expected and board.results() == BEFORE_BOOT


def test_pieces_lost_cut_and_corrupted_are_fetched_again(make_board: MakeBoard, fleet: Fleet) -> None:
    """Each piece meets a trouble of its own: none of its answer, part of it, a flipped bit, a portal's page."""
    board, bundle = make_board("troubles", overrides=IMPATIENT), fleet.bundle(blocks=1_000)
    dice = dice_of_this_run()
    left = [40]

    def flipped(answer: bytes) -> bytes:
        at = dice.randrange(len(answer))
        return answer[:at] + bytes([answer[at] ^ 1 << dice.randrange(8)]) + answer[at + 1 :]

    troubles = [
        lambda: Fault("lost", forward=False, reset=True),
        lambda: Fault("silent answer", answer=b""),
        lambda: Fault("cut", answer_bytes=dice.randrange(1, 60_000), reset=True),
        lambda: Fault("flipped", answer=flipped),
        lambda: Fault("portal", forward=False, answer=response(200, b"<html>sign in</html>", {})),
        lambda: Fault("portal part", forward=False, answer=response(206, bytes(8_192), {})),
        lambda: Fault("unsigned 404", forward=False, answer=response(404, b"{}", {})),
        lambda: Fault("twice", times=2),
    ]

    def policy(exchange: Exchange) -> Fault | None:
        if not exchange.target.startswith("/v1/bundles/") or not left[0]:
            return None
        left[0] -= 1
        return dice.choice(troubles)() if dice.random() < 0.7 else None

    board.relay.policy = policy
    board.run()
    rollout_id = fleet.start(bundle, "troubles")
    eventually(board.reboots, "the board restarted", 200)
    assert whole(board, bundle.path.read_bytes())
    fleet.await_state(rollout_id, board, "installed")
    assert {each.fault for each in board.relay.exchanges if each.target.startswith("/v1/bundles/")} - {""}


def test_the_line_is_reset_after_any_byte(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("resets", overrides=IMPATIENT), fleet.bundle(blocks=100)
    dice, expected = dice_of_this_run(), bundle.path.read_bytes()
    with TcpProxy(board.relay.port, wanted=ASKING) as proxy:
        cuts = [Trouble("answer", answer_bytes=dice.randrange(1, 70_000)) for _ in range(12)]
        requests = [Trouble("request", request_bytes=dice.randrange(1, 600)) for _ in range(6)]
        flips = [Trouble("flip", flip_answer=dice.randrange(0, 20_000)) for _ in range(6)]
        deaf = [Trouble("silence", answer_bytes=dice.randrange(0, 9_000), then_silence=True) for _ in range(2)]
        each = [*cuts, *requests, *flips, *deaf]
        dice.shuffle(each)
        proxy.script(*each)
        board.url = f"http://127.0.0.1:{proxy.port}"
        board.configure()
        board.run()
        fleet.start(bundle, "resets")
        eventually(board.reboots, "the board restarted", 200)
        assert whole(board, expected)
        assert len(proxy.met) >= 5


def test_killed_at_random_it_goes_on_from_the_disk_and_tells_each_state_once(
    make_board: MakeBoard, fleet: Fleet
) -> None:
    board, bundle = make_board("killed"), fleet.bundle(blocks=1_500)
    dice, expected = dice_of_this_run(), bundle.path.read_bytes()
    board.slow_link(0.3)
    board.run()
    rollout_id = fleet.start(bundle, "killed")
    eventually(board.part.exists, "the download began")
    for _ in range(12):
        time.sleep(dice.random() * 1.5)
        if board.progress()["state"] == "installing":
            break  # killed here three times it gives up, which is another test's
        have = board.part.stat().st_size if board.part.exists() else None
        board.kill(AGENT)
        if have is not None and board.part.exists():
            assert board.part.stat().st_size >= have
        board.run_agent()
    board.slow_link(0.0)
    eventually(board.reboots, "the board restarted", 120)
    assert board.installed() == expected
    fleet.await_state(rollout_id, board, "installed")
    assert board.results() == BEFORE_BOOT == fleet.told(board, rollout_id)


def test_killed_while_it_installs_it_installs_again(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("interrupted"), fleet.bundle()
    board.order("hang")
    board.run()
    rollout_id = fleet.start(bundle, "interrupted")
    for number in (1, 2):
        eventually(lambda number=number: board.calls("install") == number, f"installation {number} began")
        board.kill(AGENT)
        board.run_agent()
    eventually(lambda: board.calls("install") == 3, "the last try began")
    board.order("")
    fleet.await_state(rollout_id, board, "installed")
    assert board.results() == BEFORE_BOOT


def test_an_installation_that_always_ends_its_agent_is_given_up(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("deadly"), fleet.bundle()
    board.order("hang")
    board.run()
    rollout_id = fleet.start(bundle, "deadly")
    for number in (1, 2, 3):
        eventually(lambda number=number: board.calls("install") == number, f"installation {number} began")
        board.kill(AGENT)
        board.run_agent()
    fleet.await_state(rollout_id, board, "failed")
    assert "cut off 3 times" in fleet.show(rollout_id)["stations"][0]["detail"]


def test_a_bundle_that_was_changed_where_it_lies_is_never_installed(make_board: MakeBoard, fleet: Fleet) -> None:
    """Each piece verifies, since the cloud signs what it has; the whole is not what was named."""
    board, bundle = make_board("changed"), fleet.bundle("1.5.1", 13, seed=77)
    file = fleet.house.site.root / "cloud" / "bundles" / f"{bundle.sha256}.raucb"
    right = file.read_bytes()
    file.write_bytes(right[:9_000] + bytes([right[9_000] ^ 1]) + right[9_001:])
    board.run()
    rollout_id = fleet.start(bundle, "changed")
    fleet.await_state(rollout_id, board, "refused")
    assert "not the bundle that it names" in fleet.show(rollout_id)["stations"][0]["detail"]
    assert (board.calls("install"), board.installed()) == (0, b"")
    assert not board.whole.exists()
    assert len([begin for begin, _ in board.cuts() if begin == 0]) == 3


def test_what_lies_on_the_disk_is_read_back_before_it_is_installed(make_board: MakeBoard, fleet: Fleet) -> None:
    """A bit of the card turns between two runs: found, fetched again."""
    board, bundle = make_board("rotten"), fleet.bundle(blocks=400)
    board.order("hang")
    board.run()
    fleet.start(bundle, "rotten")
    eventually(lambda: board.calls("install") == 1, "the installation began")
    board.kill(AGENT)
    data = bytearray(board.whole.read_bytes())
    data[len(data) // 2] ^= 1
    board.whole.write_bytes(data)
    board.order("")
    board.run_agent()
    eventually(board.reboots, "the board restarted")
    assert board.installed() == bundle.path.read_bytes()
    assert board.results() == BEFORE_BOOT


def test_a_disk_without_room_beside_the_logs_is_said_and_nothing_is_written(
    make_board: MakeBoard, fleet: Fleet
) -> None:
    """A log that may yet take more than the partition has leaves no room for anything else."""
    board, bundle = make_board("full", overrides={"log": {"budget_mib": 1 << 20}}), fleet.bundle()
    board.run()
    fleet.start(bundle, "full")
    eventually(lambda: "no room" in board.agent_says(), "the agent says that there is no room")
    assert (board.cuts(), board.part.exists()) == ([], False)
    eventually(lambda: board.log.events() > 0, "the log goes on")


def test_over_tls_with_the_pinned_authority_and_no_other(
    make_board: MakeBoard, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("authority")
    ours, theirs = Authority(folder / "ours"), Authority(folder / "theirs")
    board, bundle = make_board("tls"), fleet.bundle()
    with server(leading_to(board.relay.port), ours.issue().server()) as url:
        board.url = url
        board.configure(cloud={"ca_file": str(theirs.certificate)})
        board.run()
        fleet.start(bundle, "tls")
        eventually(lambda: "certificate" in board.agent_says(), "the agent does not believe the cloud")
        assert board.cuts() == []
        board.configure(cloud={"ca_file": str(ours.certificate)})
        for name in (AGENT, "sync"):
            board.stop(name)
        board.start("sync")
        board.run_agent()
        eventually(board.reboots, "the board restarted")
        for name in (AGENT, "sync"):
            board.stop(name)
    assert board.installed() == bundle.path.read_bytes()


@pytest.mark.needs("faketime")
def test_the_window_is_held_to_the_clouds_time_whatever_the_board_believes(make_board: MakeBoard, fleet: Fleet) -> None:
    """A board whose clock is five hours fast, in a window that is open by the cloud's clock and closed by its own."""
    board, bundle = make_board("clock"), fleet.bundle()
    board.start("meter", "reader", "sync")
    board.start(AGENT, launcher=board.under(*shifted("+5h")))
    fleet.start(bundle, "clock")
    eventually(lambda: "downloaded" in board.results(), "the bundle is downloaded")
    assert board.cuts()[-1][1] == bundle.size_bytes - 1


@pytest.mark.needs("faketime")
def test_a_window_that_is_open_by_the_boards_wrong_clock_only_stays_closed(make_board: MakeBoard, fleet: Fleet) -> None:
    board, bundle = make_board("clock-2"), fleet.bundle()
    board.start("meter", "reader", "sync")
    board.start(AGENT, launcher=board.under(*shifted("+6h")))
    fleet.start(bundle, "clock-2", at=window(shift_h=6))
    eventually(lambda: "waits for its window" in board.agent_says(), "the agent waits")
    assert board.cuts() == []


def test_an_agent_that_fails_holds_neither_sync_nor_reader(make_board: MakeBoard, fleet: Fleet) -> None:
    """Its folder is taken away, its state is nonsense, its lock is held: the books balance as without it."""
    board = make_board("failing")
    board.take_baseline()
    (board.root / "update" / "state.json").write_text('{"rollout_id": "x", "nested": [[')
    (board.root / "update" / "highest-good").write_text("many\n")
    board.run()
    board.kill(AGENT)
    (board.root / "update").rename(board.root / "gone")
    (board.root / "update").write_text("a file where a folder should be")
    board.run_agent()
    eventually(lambda: "cannot be used for updates" in board.agent_says(), "the agent says what is wrong")
    board.with_flow("steady")
    board.await_flow(20)
    board.settle()
