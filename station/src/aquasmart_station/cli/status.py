"""`aquasmart status`: where the meter, the log and the cloud stand, in one look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import load_config
from ..core.degraded import words
from ..core.showing import ago, litres, state_words
from .looks import console, table
from .words import shown, tr, trn

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

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


def columns() -> tuple[str, ...]:
    """Headings of the table of meters."""
    return (tr("meter"), tr("state"), tr("flow L/min"), tr("meter L"), tr("log L"), tr("cloud L"))


def view(report: dict[str, Any]) -> Group:
    """The report for people; `aquasmart watch` shows the same."""
    from rich.console import Group
    from rich.text import Text

    headings = columns()
    table_shown = table(*headings, right=headings[2:])
    for meter in report["meters"]:
        flow = meter["flow_ul_s"]
        table_shown.add_row(
            meter["meter_id"],
            _coloured(meter["state"]),
            "" if flow is None else litres(flow * 60, 1),
            *(litres(meter[name], 6) for name in ("meter_ul", "log_ul", "acked_ul")),
        )
    lines = [Text.assemble((report["station_id"], "bold"), "  ", _balance(report))]
    services = [
        Text.assemble(f"{name:7} ", _coloured(report[name]["state"]), f"  {shown(report[name]['text'])}")
        for name in ("reader", "sync")
    ]
    services.append(Text(f"{tr('disk'):7} {_disk(report['disk'])}"))
    wrong = _told(report)
    wrong += [tr("degraded: {reason}: {words}", reason=reason, words=words(reason)) for reason in report["degraded"]]
    wrong += [f"{meter['meter_id']}: {shown(meter['text'])}" for meter in report["meters"] if meter["text"]]
    return Group(*lines, table_shown, *services, *(Text(line, style="yellow") for line in wrong))


def _told(report: dict[str, Any]) -> list[str]:
    """What waits for a person: operations that failed, changes that are not confirmed, and the operator's words."""
    from ..services.report import operations_waiting

    lines = [f"{shown(text)}: `aquasmart operations list`" for text in operations_waiting(report["operations"])]
    config = report["config"]
    if config and config["trial"]:
        lines.append(tr("configuration {version} is on trial", version=config["version"]))
    if config and config["unconfirmed"]:
        keys = ", ".join(config["unconfirmed"])
        lines.append(tr("set here, not confirmed by the cloud yet: {keys}", keys=keys))
    notices = report["notices"][:3]
    return lines + [tr("notice {number}: {text}", number=each["number"], text=each["text"]) for each in notices]


def _disk(disk: dict[str, Any]) -> str:
    parts = [tr("{used:.1f} of {budget:.0f} MiB", used=disk["used_bytes"] / MIB, budget=disk["budget_bytes"] / MIB)]
    if disk["autonomy_days"] is not None:
        days = disk["autonomy_days"]
        parts.append(tr("room for {days:.1f} days without the cloud at the present rate", days=days))
    coarsest_ms = max(disk["resolution_ms"], disk["ring_resolution_ms"])
    if coarsest_ms:
        parts.append(tr("events merged to {time}", time=ago(coarsest_ms / 1000)))
    return " · ".join(parts)


def _balance(report: dict[str, Any]) -> Text:
    from rich.text import Text

    waiting_ul = report["log_ul"] - report["acked_ul"]
    if not report["pending"] and not waiting_ul:
        return Text(tr("the cloud has everything that is in the log"), style="green")
    said = trn(
        "{n} event ({litres} L) waits for the cloud, for {time}",
        "{n} events ({litres} L) wait for the cloud, the oldest for {time}",
        report["pending"],
        litres=litres(waiting_ul),
        time=ago(report["oldest_pending_s"]),
    )
    return Text(said, style="yellow")


def _coloured(state: str) -> Text:
    from rich.text import Text

    colour = {"ok": "green", "online": "green", "running": "green", "stopped": "dim"}.get(state, "yellow")
    return Text(shown(state_words(state)), style=colour)
