"""Stream headers: from the wire's shape to the cloud's, and whether one is whole (docs/protocol.md §3). Pure."""

from __future__ import annotations

from msgspec import UNSET

from .model import MeterFields, Scale, StreamHeader
from .problems import Fault, Refusal
from .strict_json import invalid
from .wire import WireStream

_COMMON = ("opened_at", "boot_id", "hardware_id", "software", "clock")
_OF_METER = (
    "meter_id",
    "identity",
    "epoch",
    "epoch_from",
    "modulus",
    "opening_counts",
    "scale",
    "meter_boot_id",
    "change_token",
)
_ID_QUOTES = 4
_INNER_QUOTES = {"identity": 6, "scale": 4}


def header_quotes(wire: WireStream) -> int:
    """Quotation marks of the header when no key stands twice and none is unknown (see core.decoding)."""
    number = _ID_QUOTES
    for name in _COMMON + _OF_METER:
        value = getattr(wire, name)
        if value is UNSET:
            continue
        number += 2 + _INNER_QUOTES.get(name, 0) + (2 if isinstance(value, str) else 0)
        if name == "identity" and value.value is not None:
            number += 2
    return number


def read_header(wire: WireStream) -> StreamHeader | None:
    """The whole header, or None where only the id was sent. Errors: Refusal `invalid`, every absent field named."""
    present = {name for name in _COMMON + _OF_METER if getattr(wire, name) is not UNSET}
    if not present:
        return None
    needed = _COMMON + _OF_METER if present.intersection(_OF_METER) else _COMMON
    faults = [Fault(f"$.stream.{name}", "missing") for name in needed if name not in present]
    if faults:
        raise Refusal("invalid", "the stream's header is not whole", faults=faults)
    for name in ("meter_id", "boot_id", "hardware_id", "software"):
        value = getattr(wire, name)
        if value is not UNSET and not value.isprintable():
            raise invalid(f"$.stream.{name}", "not printable text")
    meter = _meter(wire) if "meter_id" in present else None
    # `needed` has shown that none of these is UNSET, which the types cannot know.
    return StreamHeader(
        stream=wire.id.replace("-", ""),
        meter=meter,
        opened_at=wire.opened_at,  # type: ignore[arg-type]
        hardware_id=wire.hardware_id,  # type: ignore[arg-type]
        software=wire.software,  # type: ignore[arg-type]
        clock=wire.clock,  # type: ignore[arg-type]
    )


def _meter(wire: WireStream) -> MeterFields:
    identity, scale, epoch = wire.identity, wire.scale, wire.epoch
    assert identity is not UNSET
    assert scale is not UNSET
    assert epoch is not UNSET
    assert wire.epoch_from is not UNSET
    assert wire.opening_counts is not UNSET
    assert wire.meter_id is not UNSET
    assert wire.modulus is not UNSET
    if identity.kind == "strong" and not identity.value:
        raise invalid("$.stream.identity.value", "a strong identity has a value")
    if identity.value is not None and not identity.value.isprintable():
        raise invalid("$.stream.identity.value", "not printable text")
    if wire.opening_counts < wire.epoch_from:
        raise invalid("$.stream.opening_counts", "below epoch_from")
    price = Scale(scale.ul_num, scale.den)
    if not price.carries(wire.opening_counts):
        raise invalid("$.stream.opening_counts", "times ul_num reaches 2^63")
    return MeterFields(
        meter_id=wire.meter_id,
        identity=identity.value,
        identity_strong=identity.kind == "strong",
        epoch=epoch.replace("-", ""),
        epoch_from=wire.epoch_from,
        modulus=wire.modulus,
        opening_counts=wire.opening_counts,
        scale=price,
        change_token=wire.change_token or None,
    )
