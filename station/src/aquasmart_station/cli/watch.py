"""`aquasmart watch`: the same as `status`, live: water as it flows, the backlog as it drains."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from ..config import load_config
from ..core.errors import LogError
from ..core.phrases import sentences
from ..core.showing import ago, litres, state_words
from .looks import console
from .status import view
from .words import shown, tr, trn


@click.command()
@click.option("--every", "every_s", type=click.FloatRange(0.2, 3600), help="Seconds; default 1, into a pipe 5.")
@click.option("-n", "--count", type=click.IntRange(1), help="End after so many looks.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document a line.")
@click.pass_obj
def watch(config_path: Path, every_s: float | None, count: int | None, *, as_json: bool) -> None:
    """Watch the station live; Ctrl-C ends. Into a pipe or file: a line each time."""
    config = load_config(config_path, secrets=False)
    lively = sys.stdout.isatty() and not as_json
    pause_s = every_s or (1.0 if lively else 5.0)
    from ..services.report import station_report

    def look() -> dict[str, Any] | None:
        try:
            return station_report(config)
        except LogError as fault:
            return {"fault": sentences(fault.message, fault.hint)}

    if lively:
        _live(look, pause_s, count)
        return
    looks = 0
    while True:
        report = look()
        click.echo(json.dumps(report, ensure_ascii=False) if as_json else line(report or {}))
        looks += 1
        if count is not None and looks >= count:
            return
        time.sleep(pause_s)


def _live(look: Any, pause_s: float, count: int | None) -> None:
    from rich.live import Live
    from rich.text import Text

    looks = 0
    with Live(console=console(), auto_refresh=False) as live:
        while count is None or looks < count:
            report = look()
            live.update(Text(shown(report["fault"]), style="red") if "fault" in report else view(report), refresh=True)
            looks += 1
            time.sleep(pause_s)


def line(report: dict[str, Any]) -> str:
    """One line of what matters most."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if "fault" in report:
        return f"{at}  {shown(report['fault'])}"
    flow_ul_s = sum(meter["flow_ul_s"] or 0 for meter in report["meters"])
    meters = ", ".join(f"{meter['meter_id']} {shown(state_words(meter['state']))}" for meter in report["meters"])
    waits = tr("everything delivered")
    if report["pending"]:
        waits = trn(
            "{n} event waits, for {time}",
            "{n} events wait, the oldest for {time}",
            report["pending"],
            time=ago(report["oldest_pending_s"]),
        )
    said = f"{at}  {meters}  {litres(flow_ul_s * 60, 1)} L/min  {litres(report['meter_ul'])} L  "
    services = [shown(state_words(state)) for state in (report["reader"]["state"], report["sync_state"])]
    said += "reader {}  sync {}: {}".format(*services, waits)
    return said + (f"  {tr('DEGRADED')} {', '.join(report['degraded'])}" if report["degraded"] else "")
