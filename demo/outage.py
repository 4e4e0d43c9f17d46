"""`make outage` and `make outage-over`: cut or restore the network of the demonstration that is running.

Writes the relay's control file and waits until the running demonstration says that it has obeyed.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
import time
from pathlib import Path

ORDERS = {"cut": "cut", "restore": "pass"}
CONFIRMED_WITHIN_S = 10.0
LOCK = "demo.lock"


def control_path(state: Path) -> Path:
    """What the relay obeys."""
    return state / "run" / "link"


def confirmation_path(state: Path) -> Path:
    """What the running demonstration says the link is."""
    return state / "run" / "link.state"


def in_use(state: Path) -> bool:
    """Whether a demonstration runs on this state: it holds a lock that the kernel frees when it is gone."""
    try:
        with (state / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def order(state: Path, wanted: str) -> bool:
    """Say what the link shall be; True once the running demonstration has confirmed it."""
    control = control_path(state)
    fresh = control.with_name("link.new")
    fresh.write_text(wanted + "\n")
    fresh.replace(control)
    deadline = time.monotonic() + CONFIRMED_WITHIN_S
    while time.monotonic() < deadline and in_use(state):
        if confirmation_path(state).read_text().strip() == wanted:
            return True
        time.sleep(0.05)
    return False


def main() -> int:
    """Exit status 0: it is done. 1: nothing runs there, or it did not obey."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path("var"))
    parser.add_argument("verb", choices=sorted(ORDERS))
    chosen = parser.parse_args()
    if not in_use(chosen.state):
        print(f"Nothing runs on {chosen.state}/. Start it first, in another terminal: make run", file=sys.stderr)
        return 1
    if not order(chosen.state, ORDERS[chosen.verb]):
        print("The running demonstration did not confirm; its terminal says more.", file=sys.stderr)
        return 1
    if chosen.verb == "cut":
        print("The network between station and cloud is cut. The meter is still counted: watch the backlog grow.")
        print("Restore it with: make outage-over")
    else:
        print("The network is back. Watch the backlog drain and the books balance.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
