"""`aquasmart status`: where the meter, the log and the cloud stand, in one look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..config import load_config
from ..core.degraded import words
from ..core.showing import ago, litres

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
        _show(report)


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("meter", "state", "flow L/min", "meter L", "log L", "cloud L"):
        table.add_column(name, justify="right" if name.endswith((" L", "min")) else "left")
    for meter in report["meters"]:
        flow = meter["flow_ul_s"]
        table.add_row(
            meter["meter_id"],
            _coloured(meter["state"]),
            "" if flow is None else litres(flow * 60, 1),
            *(litres(meter[name], 6) for name in ("meter_ul", "log_ul", "acked_ul")),
        )
    console.print(f"[bold]{report['station_id']}[/bold]  {_balance(report)}")
    console.print(table)
    for name in ("reader", "sync"):
        console.print(f"{name:7} {_coloured(report[name]['state'])}  {report[name]['text']}")
    console.print(f"disk    {_disk(report['disk'])}")
    for line in _told(report):
        console.print(line, markup=False, style="yellow")
    for reason in report["degraded"]:
        console.print(f"[yellow]degraded: {reason}: {words(reason)}[/yellow]")
    for meter in report["meters"]:
        if meter["text"]:
            console.print(f"[yellow]{meter['meter_id']}: {meter['text']}[/yellow]")


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


def _balance(report: dict[str, Any]) -> str:
    waiting_ul = report["log_ul"] - report["acked_ul"]
    if not report["pending"] and not waiting_ul:
        return "[green]the cloud has everything that is in the log[/green]"
    return (
        f"[yellow]{report['pending']} events ({litres(waiting_ul)} L) wait for the cloud, "
        f"the oldest for {ago(report['oldest_pending_s'])}[/yellow]"
    )


def _coloured(state: str) -> str:
    colour = {"ok": "green", "online": "green", "running": "green", "stopped": "dim"}.get(state, "yellow")
    return f"[{colour}]{state}[/{colour}]"
