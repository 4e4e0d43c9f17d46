"""`aquasmart led`: the service that drives the health LED, and the card that explains it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..config import load_config
from ..core.led import PATTERNS, Health
from .words import shown, tr


@click.command()
@click.option("--card", is_flag=True, help="Print what each pattern means, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --card: one JSON document.")
@click.pass_obj
def led(config_path: Path, *, card: bool, as_json: bool) -> None:
    """Drive the health LED, until SIGTERM."""
    if as_json and not card:
        raise click.UsageError(tr("--json goes with --card"))
    if card:
        click.echo(_document() if as_json else "\n".join(card_lines()))
        return
    from ..wiring.lighting import run_led

    run_led(load_config(config_path, secrets=False))


def card_lines() -> list[str]:
    """The card: a line for each pattern, drawn in steps of 120 ms."""
    drawn = {each: _drawn(PATTERNS[each].steps_ms) for each in reversed(Health)}
    width = max(map(len, drawn.values()))
    return [f"{drawn[each]:{width}}  {shown(each.word)}: {shown(each.remedy)}" for each in drawn]


def _drawn(steps_ms: tuple[int, ...]) -> str:
    return "".join(("█" if index % 2 == 0 else "·") * max(1, step // 120) for index, step in enumerate(steps_ms))


def _document() -> str:
    said = [{"state": h.word, "do": h.remedy, "lit_dark_ms": PATTERNS[h].steps_ms} for h in Health]
    return json.dumps(said, ensure_ascii=False)
