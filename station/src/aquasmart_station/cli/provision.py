"""`aquasmart provision`: from one file on the boot partition to a station that is ready to count.

Exit status: 0 done (also where nothing was left to do), 1 something could not be written, 78 the file has faults.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..config import load_config
from ..core.provisioning import BadProvision
from .conventions import EX_CONFIG
from .words import shown, tr, trn

if TYPE_CHECKING:
    from ..services.provisioning import Places

NETWORK_FOLDER = Path("/etc/NetworkManager/system-connections")
NETWORK_RUNS = Path("/run/NetworkManager")
RELOAD_S = 20


@click.command()
@click.argument("given", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--check", "only_check", is_flag=True, help="Only say whether FILE is well.")
@click.option("--label", "only_label", is_flag=True, help="Only show the label of a provisioned station.")
@click.option(
    "--at-boot", is_flag=True, help="As systemd runs it: only if FILE has changed; says how it went beside FILE."
)
@click.option(
    "--network-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=NETWORK_FOLDER,
    show_default=True,
    envvar="AQUASMART_NETWORK_DIR",
    help="Where NetworkManager looks for connections.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_context
def provision(
    context: click.Context,
    given: Path | None,
    *,
    only_check: bool,
    only_label: bool,
    at_boot: bool,
    network_dir: Path,
    as_json: bool,
) -> None:
    """Set this station up from FILE (default /boot/firmware/aquasmart.toml, else /boot/aquasmart.toml).

    FILE is checked whole before anything changes. Its secrets are moved to files that only root can read, and
    overwritten in FILE. Cut off at any point, it can be repeated.
    """
    from ..services.boot_provisioning import BOOT_FILES, boot_file, remember
    from ..services.provisioning import Places, check
    from ..services.provisioning import provision as run

    source = given or boot_file()
    places = Places(context.obj, network_dir)
    if at_boot:
        context.exit(_at_boot(source, places))
    if only_label:
        _show_label(context.obj, as_json=as_json)
        return
    try:
        if only_check:
            plan, config = check(source, places)
            said = {"ok": True, "station_id": plan.station_id, "meters": [meter.id for meter in config.meters]}
            well = tr("{path} is well: station {station}", path=source, station=plan.station_id)
            click.echo(json.dumps(said) if as_json else well)
            return
        done = run(source, places)
        if source in BOOT_FILES:
            remember(source, places)
    except BadProvision as fault:
        if as_json:
            click.echo(json.dumps({"ok": False, "faults": fault.faults}, ensure_ascii=False))
        else:
            click.echo(f"aquasmart: {shown(fault.message)}\n{shown(fault.hint)}", err=True)
        context.exit(EX_CONFIG)
    reloaded = _reload_network() if any(name.endswith(".nmconnection") for name in done.changed) else None
    if as_json:
        document = {
            "ok": True,
            "station_id": done.station_id,
            "key_id": done.key_id,
            "key_fingerprint": done.key_fingerprint,
            "changed": done.changed,
            "secrets_wiped": done.wiped,
            "network_reloaded": reloaded,
        }
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    for name in done.changed:
        click.echo(tr("wrote {path}", path=name) if Path(name).exists() else tr("removed {path}", path=name))
    if done.wiped:
        click.echo(trn("wiped {n} secret from {path}", "wiped {n} secrets from {path}", done.wiped, path=source))
    if not done.changed and not done.wiped:
        click.echo(tr("nothing was left to do"))
    if reloaded is False:
        click.echo(tr("NetworkManager was not told; it reads its files when it starts"))
    _show_label(context.obj, as_json=False)


def _at_boot(source: Path, places: Places) -> int:
    """The same without a person: for the journal, the Status line, and a text beside the file. The exit status."""
    from ..adapters.watchdog import SystemdWatchdog
    from ..services.boot_provisioning import at_boot

    outcome = at_boot(source, places)
    click.echo(outcome.text)
    SystemdWatchdog().status(outcome.text)
    changed = outcome.done.changed if outcome.done is not None else []
    # At boot it is not up yet, and reads its files when it is.
    if NETWORK_RUNS.is_dir() and any(name.endswith(".nmconnection") for name in changed):
        _reload_network()
    return {"faults": EX_CONFIG, "failed": 1}.get(outcome.state, 0)


def _show_label(config_path: Path, *, as_json: bool) -> None:
    """Who this station is, for the operator: as a QR code where the package for it is there, as text always."""
    from ..adapters.clock import hardware_id
    from ..services.provisioning import fingerprint, label

    config = load_config(config_path)
    text = label(config, hardware_id())
    if as_json:
        click.echo(text)
        return
    code = _code(text)
    if code:
        click.echo(code)
    said = tr(
        "{key}, fingerprint {fingerprint}", key=config.cloud.key_id, fingerprint=fingerprint(config.cloud.key.hex())
    )
    rows = (
        (tr("station"), config.station_id),
        (tr("key"), said),
        (tr("board"), hardware_id()),
        (tr("cloud"), config.cloud.url),
        (tr("taps"), ", ".join(meter.id for meter in config.meters)),
    )
    for name, value in rows:
        click.echo(f"{name:12} {value}")


def _code(text: str) -> str:
    """The QR code in half blocks, readable on a dark and on a light terminal; empty without the package `segno`."""
    try:
        import segno
    except ImportError:
        return ""
    rows = [list(row) for row in segno.make(text, error="l").matrix_iter(border=2)]
    rows += [[0] * len(rows[0])] if len(rows) % 2 else []
    # A light module is drawn, a dark one left out: with the border the code stands on its own light ground.
    marks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join("".join(marks[bool(a), bool(b)] for a, b in zip(*pair, strict=True)) for pair in pairs)


def _reload_network() -> bool:
    """Tell a NetworkManager that runs; one that starts later reads the files by itself."""
    program = shutil.which("nmcli")
    if program is None:
        return False
    try:
        done = subprocess.run([program, "connection", "reload"], check=False, capture_output=True, timeout=RELOAD_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
