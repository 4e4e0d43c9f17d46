"""When a new epoch is the continuation of an old one (docs/protocol.md §5), and when boards interleave. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .model import MeterFields


class Former(NamedTuple):
    """The root of the meter's latest known epoch."""

    epoch: str
    identity: str | None
    identity_strong: bool
    modulus: int | None
    counts_through: int


def alias_shift(former: Former, new: MeterFields) -> int | None:
    """How far the new epoch's positions lie below the former root's when both count one meter's one life.

    That is so for the same strong identity whose raw count now is at or above the last known one: the meter went
    on while no card was there to see it. Positions are raw counts plus whole turns of the register, so the shift
    is the whole turns of the last known position. None: nothing shows that it is the same life.
    """
    if not (former.identity_strong and new.identity_strong and former.identity == new.identity):
        return None
    if former.modulus != new.modulus:
        return None
    turns = 0 if new.modulus is None else former.counts_through // new.modulus * new.modulus
    return turns if new.epoch_from + turns >= former.counts_through else None


class BoardSpan(NamedTuple):
    """From when to when a board's rows are known, believed times."""

    hardware_id: str
    first_at: int
    last_at: int


def interleaved(spans: Iterable[BoardSpan]) -> list[tuple[str, str]]:
    """Pairs of boards that wrote in turns (A, B, A): their times of writing overlap by more than an instant.

    A card that moved to another board, or an old card drained late, gives one span after the other.
    """
    ordered = sorted(spans, key=lambda span: (span.first_at, span.hardware_id))
    pairs = []
    for index, one in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if other.first_at >= one.last_at:
                break
            pairs.append((min(one.hardware_id, other.hardware_id), max(one.hardware_id, other.hardware_id)))
    return pairs
