"""`make run`: one station and its cloud on this machine, live, with the same commands that run in the field.

Provisions, starts, shows and stops; looking after the processes is `demo.supervise`, the figures are
`demo.snapshot`, their looks `demo.view`. Counts, stores and sends nothing itself.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.live import Live

from demo.groups import Group
from demo.keys import pressed_keys, raw_keyboard
from demo.link import Relay
from demo.outage import LOCK, confirmation_path, control_path
from demo.site import Site, SiteError
from demo.supervise import Demonstration, Refused, Stop, time_of_day
from demo.view import Board, plain_line, render

LOOK_EVERY_S = 0.25
FIGURES_EVERY_S = 1.0
PLAIN_EVERY_S = 5.0
DEMO_SYNC = {"heartbeat_s": 5}
"""More often than in the field, so that the page shows a backlog while it drains."""


def watch_terminal(run: Demonstration, console: Console) -> None:
    """The live view, until somebody stops it."""
    with raw_keyboard(sys.stdin) as keyboard, Live(console=console, auto_refresh=False) as live:
        run.board.keys = keyboard is not None
        next_look = 0.0
        while run.stop.asked_mono is None:
            run.step()
            if time.monotonic() >= next_look:
                run.look()
                next_look = time.monotonic() + FIGURES_EVERY_S
            live.update(render(run.snapshot, run.board), refresh=True)
            for key in pressed_keys(keyboard, LOOK_EVERY_S):
                if key == "o":
                    run.switch_network()
                elif key == "l":
                    run.new_link()
                elif key in "q\x03":
                    run.stop.ask()


def watch_plainly(run: Demonstration) -> None:
    """Lines for a log or a pipe, until somebody stops it."""
    next_line = 0.0
    while run.stop.asked_mono is None:
        run.step()
        while run.board.told:
            print("  ".join(run.board.told.popleft()), flush=True)
        if time.monotonic() >= next_line:
            run.look()
            print(plain_line(time_of_day(), run.snapshot, run.board), flush=True)
            next_line = time.monotonic() + PLAIN_EVERY_S
        time.sleep(LOOK_EVERY_S)


@contextlib.contextmanager
def sole_user(state: Path) -> Iterator[IO[str]]:
    """Hold the state folder. Raises Refused while another run holds it."""
    try:
        (state / "run").mkdir(parents=True, exist_ok=True)
        lock = (state / LOCK).open("a")
    except OSError as fault:
        raise Refused(
            f"Cannot use {state} as the state folder: {fault.strerror}. Say another: make run STATE=…"
        ) from fault
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                f"Another 'make run' is using {state}/. Stop that one (Ctrl-C in its terminal), or say another "
                "folder and port: make run STATE=var2 PORT=8001"
            ) from None
        yield lock


def check_port(port: int) -> None:
    """Raises Refused where another program listens, or the number is none."""
    if not 0 < port < 65536:
        raise Refused(f"PORT must be a number from 1 to 65535, not {port}.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as fault:
            why = (
                "is taken by another program"
                if fault.errno == errno.EADDRINUSE
                else f"cannot be used ({fault.strerror})"
            )
            raise Refused(f"Port {port} {why}. Say another one: make run PORT={port + 1}") from fault


def demonstrate(state: Path, port: int, stop: Stop, console: Console) -> None:
    """Provision what is missing, start everything, show it, stop everything. Raises Refused, SiteError."""
    for name in Site(state, cloud_port=port, worker=True).names:
        Group(name, state / "pids", state / "logs").end_leftover()
    check_port(port)
    control_path(state).write_text("pass\n")
    confirmation_path(state).write_text("pass\n")
    with Relay(0, port, control=control_path(state)) as relay:
        overrides = {"sync": DEMO_SYNC}
        site = Site(state, cloud_port=port, station_url_port=relay.port, overrides=overrides, worker=True)
        board = Board(url=site.url, sign_in="", state_folder=f"{state}/", keys=False)
        run = Demonstration(site, relay, board, stop)
        print("Preparing the station and the cloud …" if not site.config_path.exists() else "Resuming …", flush=True)
        try:
            site.provision()
            run.begin()
            if console.is_terminal:
                watch_terminal(run, console)
            elif stop.asked_mono is None:
                print(f"AquaSmart is running: {board.url}", flush=True)
                print(f"Sign in, works once: {board.sign_in}", flush=True)
                watch_plainly(run)
        except SiteError:
            # Ctrl-C also reaches the short commands that prepare the site: what they say then is no fault.
            if stop.asked_mono is None:
                raise
        finally:
            stop.ask()
            print("Stopping: reader, sync, meter, worker, cloud …", flush=True)
            run.end()
    print(f"Stopped. Everything counted is in {state}/; 'make run' resumes.", flush=True)


def main() -> int:
    """Exit status 0 after a clean stop, 1 with the reason otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path("var"))
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args()
    stop = Stop()
    stop.listen()
    try:
        with sole_user(chosen.state):
            demonstrate(chosen.state.resolve(), chosen.port, stop, Console())
    except (Refused, SiteError) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
