"""`aquasmart status`: where the meter, the log and the cloud stand, in one look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import load_config
from ..core.degraded import words
from ..core.showing import ago, litres
from .looks import console, table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

_COLUMNS = ("meter", "state", "flow L/min", "meter L", "log L", "cloud L")
MIB = 1 << 20


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document, volumes in µl.")
@click.pass_obj
def status(config_path: Path, *, as_json: bool) -> None:
    """Show what was counted, logged and acknowledged, and what is wrong."""
    from ..services.report import station_report

    report = station_report(load_config(config_path, secrets=False))
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        console().print(view(report))


def view(report: dict[str, Any]) -> Group:
    """The report for people; `aquasmart watch` shows the same."""
    from rich.console import Group
    from rich.text import Text

    shown = table(*_COLUMNS, right=_COLUMNS[2:])
    for meter in report["meters"]:
        flow = meter["flow_ul_s"]
        shown.add_row(
            meter["meter_id"],
            _coloured(meter["state"]),
            "" if flow is None else litres(flow * 60, 1),
            *(litres(meter[name], 6) for name in ("meter_ul", "log_ul", "acked_ul")),
        )
    lines = [Text.assemble((report["station_id"], "bold"), "  ", _balance(report))]
    services = [
        Text.assemble(f"{name:7} ", _coloured(report[name]["state"]), f"  {report[name]['text']}")
        for name in ("reader", "sync")
    ]
    services.append(Text(f"disk    {_disk(report['disk'])}"))
    wrong = _told(report)
    wrong += [f"degraded: {reason}: {words(reason)}" for reason in report["degraded"]]
    wrong += [f"{meter['meter_id']}: {meter['text']}" for meter in report["meters"] if meter["text"]]
    return Group(*lines, shown, *services, *(Text(line, style="yellow") for line in wrong))


def _told(report: dict[str, Any]) -> list[str]:
    """What waits for a person: operations that failed, changes that are not confirmed, and the operator's words."""
    counts = report["operations"]
    lines = [
        f"{counts[state]} operation{'s' if counts[state] != 1 else ''} {state}: `aquasmart operations list`"
        for state in ("failed", "refused", "conflict")
        if counts.get(state)
    ]
    config = report["config"]
    if config and config["trial"]:
        lines.append(f"configuration {config['version']} is on trial")
    if config and config["unconfirmed"]:
        lines.append(f"set here, not confirmed by the cloud yet: {', '.join(config['unconfirmed'])}")
    return [*lines, *(f"notice {each['number']}: {each['text']}" for each in report["notices"][:3])]


def _disk(disk: dict[str, Any]) -> str:
    text = f"{disk['used_bytes'] / MIB:.1f} of {disk['budget_bytes'] / MIB:.0f} MiB"
    if disk["autonomy_days"] is not None:
        text += f" · room for {disk['autonomy_days']:.1f} days without the cloud at the present rate"
    coarsest_ms = max(disk["resolution_ms"], disk["ring_resolution_ms"])
    return text + (f" · events merged to {ago(coarsest_ms / 1000)}" if coarsest_ms else "")


def _balance(report: dict[str, Any]) -> Text:
    from rich.text import Text

    waiting_ul = report["log_ul"] - report["acked_ul"]
    if not report["pending"] and not waiting_ul:
        return Text("the cloud has everything that is in the log", style="green")
    return Text(
        f"{report['pending']} events ({litres(waiting_ul)} L) wait for the cloud, "
        f"the oldest for {ago(report['oldest_pending_s'])}",
        style="yellow",
    )


def _coloured(state: str) -> Text:
    from rich.text import Text

    colour = {"ok": "green", "online": "green", "running": "green", "stopped": "dim"}.get(state, "yellow")
    return Text(state, style=colour)
