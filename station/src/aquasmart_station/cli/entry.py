"""Where `aquasmart` begins. The services start without the command line's machinery, which is a fifth of a reader.

Only the plain form that systemd uses is taken here: `aquasmart [--config FILE] reader|sync|update-agent`. Everything
else, a wrong word or `--help` included, goes to cli/main.py, which knows the same commands.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .conventions import DEFAULT_CONFIG, EX_CONFIG

if TYPE_CHECKING:
    from ..core.errors import StationError

LOOK_AGAIN_S = 10.0
SERVICES = frozenset({"reader", "sync", "update-agent"})


def main() -> None:
    """Run what the arguments say and exit with its status."""
    service = plain_service(sys.argv[1:], os.environ)
    if service is None:
        from .main import main as whole_command_line

        whole_command_line()
        return
    sys.exit(serve(*service))


def plain_service(words: Sequence[str], environment: Mapping[str, str]) -> tuple[str, Path] | None:
    """The service and its configuration, where the arguments ask for nothing else."""
    path = environment.get("AQUASMART_CONFIG") or DEFAULT_CONFIG
    rest = list(words)
    if rest[:1] == ["--config"] and len(rest) > 1:
        path, rest = rest[1], rest[2:]
    elif rest and rest[0].startswith("--config="):
        path, rest = rest[0].partition("=")[2], rest[1:]
    return (rest[0], Path(path)) if len(rest) == 1 and rest[0] in SERVICES and str(path) else None


def serve(name: str, config_path: Path) -> int:
    """Run a service to its end. Every error of ours becomes one message and an exit status, as in cli/main.py."""
    import faulthandler

    from ..config import load_config
    from ..core.errors import BadConfig, StationError

    # The watchdog ends a service that hangs by SIGABRT: the journal then shows the line of each thread.
    faulthandler.enable()
    try:
        if name == "reader":
            from ..wiring.reading import run_reader

            # Counting needs no key: a station whose key is missing or spoilt still counts.
            run_reader(load_config(config_path, secrets=False))
        elif name == "sync":
            from ..wiring.syncing import run_sync

            run_sync(load_config(config_path))
        else:
            from ..wiring.updating import run_update_agent

            run_update_agent(load_config(config_path))
    except KeyboardInterrupt:
        return 130
    except StationError as fault:
        print(f"aquasmart: {fault}", file=sys.stderr)
        if fault.hint:
            print(fault.hint, file=sys.stderr)
        _tell_supervisor(fault)
        return EX_CONFIG if isinstance(fault, BadConfig) else 1
    return 0


def _tell_supervisor(fault: StationError) -> None:
    """What `systemctl status` shows until the next start. A configuration that cannot be used is looked at again every
    ten seconds only: a station that restarts all day would warm itself for nothing, and nobody mends a file faster."""
    if "NOTIFY_SOCKET" not in os.environ:
        return
    from ..adapters.watchdog import SystemdWatchdog
    from ..core.errors import BadConfig

    SystemdWatchdog().status(f"CANNOT START: {fault} {fault.hint or ''}".strip())
    if isinstance(fault, BadConfig):
        time.sleep(LOOK_AGAIN_S)
