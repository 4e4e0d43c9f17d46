"""`aquasmart meter calibrate`: pour a known volume, and the K-factor follows exactly.

Reads what the reader shows (it owns the port and goes on counting: the water of a calibration is counted, too), asks,
computes in core/calibration.py, and files the change as `meter scale` does. Nothing is changed before the last answer.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import click

from ..config import Config, MeterConfig, load_config
from ..core.calibration import Calibration, Pour, calibrate, class_of, decimals
from ..core.errors import StationError
from ..core.model import Scale
from ..core.phrases import Phrase
from ..core.showing import state_words
from .words import confirmed, tr

STILL_S = 2.0
"""A meter that has not moved for so long stands still."""
LOOK_EVERY_S = 0.25
PATIENCE_S = 120.0
UNWELL_S = 10.0
"""A line may lose its meter for a moment; for so long it is a fault."""


@dataclass(frozen=True, slots=True)
class Position:
    epoch: str
    counts: int


@click.command("calibrate")
@click.argument("meter_id")
@click.option("--volume", "volumes", multiple=True, help="Litres of each pour, exactly: 5, or 4.985. Else it is asked.")
@click.option("--pours", type=click.IntRange(1, 20), default=1, show_default=True, help="How many pours.")
@click.option("--yes", is_flag=True, help="Take the result without asking (not where it is suspicious).")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document at the end.")
@click.pass_context
def calibrate_meter(
    context: click.Context, meter_id: str, volumes: tuple[str, ...], pours: int, *, yes: bool, as_json: bool
) -> None:
    """Calibrate METER_ID by pouring a known volume. Ctrl-C at any point changes nothing."""
    config = load_config(context.obj, secrets=False)
    meter = _named(config, meter_id)
    present = scale_in_force(config, meter)
    given = [_litres(text) for text in volumes]
    made: list[Pour] = []
    for number in range(max(pours, len(given))):
        made.append(_pour(config, meter_id, number, given[number] if number < len(given) else None, quiet=as_json))
        if not as_json:
            click.echo(_said(made[-1], present))
    found = calibrate(made, present)
    if not as_json:
        click.echo(_summary(found, present))
    taken = yes and not found.suspicious
    if not taken and not (as_json and yes):
        taken = confirmed(tr("Use the new K-factor from now on?"), err=as_json)
    document = _document(found, made, present) | {"applied": taken}
    if taken:
        document |= _apply(config, meter_id, found.scale, present, as_json=as_json)
    elif not as_json:
        click.echo(tr("nothing was changed"))
    if as_json:
        click.echo(json.dumps(document))
    context.exit(0 if taken else 1)


def _named(config: Config, meter_id: str) -> MeterConfig:
    meters = {each.id: each for each in config.meters}
    if meter_id not in meters:
        raise click.UsageError(
            tr(
                "no meter is called {meter_id!r}; the configuration has {meters}",
                meter_id=meter_id,
                meters=", ".join(meters),
            )
        )
    return meters[meter_id]


def scale_in_force(config: Config, meter: MeterConfig) -> Scale:
    """The price of a count just now: a local or remote change, else the configuration's."""
    from ..adapters import config_rows
    from ..adapters.ops import OpsFile
    from ..meters.driver import make_driver

    with OpsFile(config.ops_path).reading() as connection:
        wanted = config_rows.in_force(connection).settings.get(("meters", meter.id, "scale"))
    return Scale(wanted["ul_num"], wanted["den"]) if wanted else make_driver(meter.settings).traits.scale


def _litres(text: str) -> int:
    """Litres exactly as written, in µl. Raises UsageError."""
    try:
        volume = Fraction(text) * 1_000_000
    except (ValueError, ZeroDivisionError) as fault:
        raise click.UsageError(tr("{text!r} is no number of litres such as 5 or 4.985", text=text)) from fault
    if volume <= 0 or volume.denominator != 1:
        raise click.UsageError(tr("{text!r}: a volume is above 0 and has at most six decimals of a litre", text=text))
    return int(volume)


def _pour(config: Config, meter_id: str, number: int, volume_ul: int | None, *, quiet: bool) -> Pour:
    """One pour, from a meter that stands still to one that stands still again. Raises StationError."""

    def say(text: str) -> None:
        click.echo(text, err=quiet)

    say(tr("pour {n}: the tap must be shut; waiting until the meter stands still …", n=number + 1))
    first = await_stillness(config, meter_id)
    now = tr("at {counts} counts. Pour now, shut the tap, then press Enter", counts=first.counts)
    click.prompt(now, default="", show_default=False, err=quiet)
    last = await_stillness(config, meter_id)
    if last.epoch != first.epoch:
        raise StationError(
            tr("the meter restarted or was replaced meanwhile"), hint=tr("Begin again; nothing was changed.")
        )
    if last.counts <= first.counts:
        raise StationError(
            tr("the meter has not counted anything"),
            hint=tr("Did the water run through this tap? Nothing was changed."),
        )
    if volume_ul is None:
        volume_ul = _litres(str(click.prompt(tr("How many litres were in the vessel"), err=quiet)))
    return Pour(last.counts - first.counts, volume_ul)


def await_stillness(config: Config, meter_id: str) -> Position:
    """Where the meter stands once it has not moved for two seconds. Raises StationError."""
    deadline, still_since, last = time.monotonic() + PATIENCE_S, time.monotonic(), None
    well_s = time.monotonic()
    while time.monotonic() < deadline:
        now, wrong = _position(config, meter_id)
        if now is None and time.monotonic() - well_s > UNWELL_S:
            hint = Phrase("`aquasmart doctor` says what to do; nothing was changed.")
            state = state_words(wrong)
            raise StationError(Phrase("{meter} is {state}", meter=meter_id, state=state), hint=hint)
        well_s = well_s if now is None else time.monotonic()
        if now is None or now != last:
            last, still_since = now, time.monotonic()
        elif time.monotonic() - still_since >= STILL_S:
            return now
        time.sleep(LOOK_EVERY_S)
    raise StationError(
        tr("{meter_id} has not stood still for {seconds:g} s", meter_id=meter_id, seconds=STILL_S),
        hint=tr("Shut the tap; is it leaking?"),
    )


def _position(config: Config, meter_id: str) -> tuple[Position | None, str]:
    """The position; None with the meter's state where it is not well just now. Raises StationError."""
    from ..adapters.live import read_meters, read_service
    from ..services.report import running_state

    if running_state(read_service(config.live_path, "reader_state")) in {"not-running", "stopped"}:
        raise StationError(tr("the reader does not run"), hint=tr("Start it: systemctl start aquasmart-reader"))
    said = read_meters(config.live_path).get(meter_id)
    if said is None or said.state != "ok" or said.counts is None or said.epoch is None:
        return None, said.state if said else "unknown"
    return Position(said.epoch, said.counts), ""


def _said(pour: Pour, present: Scale) -> str:
    litres, error = decimals(Fraction(pour.volume_ul, 1_000_000), 3), _signed(pour.error_percent(present))
    return "  " + tr("{counts} counts for {litres} L: {error} %", counts=pour.counts, litres=litres, error=error)


def _signed(value: Fraction) -> str:
    return ("+" if value > 0 else "") + decimals(value, 2)


def _k(scale: Scale) -> Fraction:
    return Fraction(1_000_000 * scale.den, scale.ul_num)


def _summary(found: Calibration, present: Scale) -> str:
    former, new = decimals(_k(present), 4), decimals(found.k_factor, 4)
    error, accuracy = _signed(found.before_percent), class_of(found.before_percent)
    rows = (
        (tr("K-factor until now"), tr("{k} pulses/L", k=former)),
        (tr("K-factor by pours"), tr("{k} pulses/L  (exactly {exact})", k=new, exact=found.k_factor)),
        (tr("error until now"), tr("{error} %, class {accuracy}", error=error, accuracy=accuracy)),
        (tr("pours agree within"), f"{decimals(found.spread_percent, 2)} %"),
    )
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:{width}}  {text}" for name, text in rows]
    if found.coarse:
        lines.append(tr("note: so small a pour cannot tell half a per cent: pour more, or several times (--pours 3)"))
    if found.suspicious:
        lines.append(tr("SUSPICIOUS: more than 20 % off. Right tap, right vessel, right unit?"))
    return "\n".join(lines)


def _document(found: Calibration, pours: list[Pour], present: Scale) -> dict[str, Any]:
    return {
        "pours": [
            {
                "counts": pour.counts,
                "volume_ul": pour.volume_ul,
                "error_percent": decimals(pour.error_percent(present), 4),
            }
            for pour in pours
        ],
        "former_scale": {"ul_num": present.ul_num, "den": present.den},
        "scale": {"ul_num": found.scale.ul_num, "den": found.scale.den},
        "k_factor": str(found.k_factor),
        "error_percent": decimals(found.before_percent, 4),
        "class": class_of(found.before_percent),
        "spread_percent": decimals(found.spread_percent, 4),
        "suspicious": found.suspicious,
    }


def _apply(config: Config, meter_id: str, scale: Scale, present: Scale, *, as_json: bool) -> dict[str, Any]:
    from .settings import changed

    value, former = ({"ul_num": each.ul_num, "den": each.den} for each in (scale, present))
    number, token = changed(config, ("meters", meter_id, "scale"), value, former)
    if not as_json:
        click.echo(tr("in force now; the cloud is told as operation {number} and may refuse it,", number=number))
        click.echo(tr("then the former value comes back: `aquasmart config show` says how it stands"))
    return {"operation": number, "change_token": token}
