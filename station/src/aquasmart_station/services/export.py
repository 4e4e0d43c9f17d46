"""Writing what the cloud does not have yet into one signed file, for a stick or a courier instead of a network.

Reads in pages, beside a running sync, and moves no mark: what was carried by hand is sent again when there is a
network, and the cloud takes it once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..adapters.durable_files import sync_folder
from ..adapters.log_outbox import Mark, Outbox
from ..core.batching import BatchSize
from ..core.bundle import BundleWriter
from ..core.conversation import Identity
from ..core.errors import StationError
from ..core.phrases import Phrase
from .packing import Packer

ROWS_A_REQUEST = 2_000


@dataclass(frozen=True, slots=True)
class Exported:
    """What a bundle holds."""

    path: Path
    requests: int
    events: int
    volume_ul: int


def export_log(
    log: Path,
    target: Path,
    identity: Identity,
    now_ms: int,
    *,
    everything: bool = False,
    only_stream: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> Exported:
    """Write the bundle whole or not at all: under another name first, then renamed. Raises LogError, StationError.

    `everything`: what is acknowledged too, for a cloud that lost it. `only_stream`: one stream's id.
    """
    outbox = Outbox(log)
    outbox.open_read_only(everything=everything)
    try:
        outbox.look()
        if only_stream is not None:
            outbox.keep_only(only_stream)
        part = target.with_name(target.name + ".part")
        try:
            exported = _write(outbox, part, target, BundleWriter(identity, now_ms), progress)
        except OSError as fault:
            part.unlink(missing_ok=True)
            raise StationError(
                Phrase("{target} cannot be written: {strerror}", target=target, strerror=fault.strerror)
            ) from fault
    finally:
        outbox.close()
    return exported


def _write(
    outbox: Outbox, part: Path, target: Path, bundle: BundleWriter, progress: Callable[[int, int], None]
) -> Exported:
    packer = Packer(outbox, BatchSize(ROWS_A_REQUEST, ROWS_A_REQUEST))
    for lane in outbox.lanes.values():
        packer.want_header(lane)  # the bundle may reach the cloud before anything else does
    total, requests, events, volume_ul = outbox.pending, 0, 0, 0
    with part.open("wb") as file:
        file.write(bundle.head())
        while (packed := packer.next()) is not None:
            batch = packed.batch
            seqs = batch.through_seq - batch.first_seq + 1
            file.write(bundle.request(packed.body, packed.encoding, seqs))
            requests, events = requests + 1, events + seqs
            if batch.header.scale is not None:
                volume_ul += batch.header.scale.volume_ul(batch.counts_before, batch.counts_through)
            outbox.assume(Mark(batch.stream_no, batch.through_seq, batch.counts_through, batch.through_position))
            progress(events, total)
        file.write(bundle.manifest())
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)
    sync_folder(target.parent)
    return Exported(target, requests, events, volume_ul)
