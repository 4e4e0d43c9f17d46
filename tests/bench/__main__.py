"""Runs what was asked for, shows each part as it is measured, writes build/bench.json."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from . import growth, ingest, log, operations, queries, reader, station, sync_online, sync_road, wire
from .figures import FULL, TINY, Figure, Sizes, show, write

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 150


def _sync(sizes: Sizes) -> Iterator[Figure]:
    yield from wire.measure()
    yield from station.measure(sizes)
    yield from sync_road.measure(sizes)
    yield from sync_online.measure(sizes)


PARTS: dict[str, Callable[[Sizes], Iterator[Figure]]] = {
    "log": log.measure,
    "reader": reader.measure,
    "sync": _sync,
    "operations": operations.measure,
    "ingest": ingest.measure,
    "growth": growth.measure,
    "queries": queries.measure,
}


def run(parts: Sequence[str], sizes: Sizes, output: Path, console: Console) -> list[Figure]:
    """Measure `parts`, show and write them. A part that fails ends the run: half a table would pass for the whole."""
    figures: list[Figure] = []
    for part in parts:
        began = time.monotonic()
        measured = list(PARTS[part](sizes))
        console.print(f"\n[bold]{part}[/] in {time.monotonic() - began:.0f} s")
        show(measured, console)
        figures += measured
    write(figures, output)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures beside the naive scheme.")
    parser.add_argument("--only", choices=sorted(PARTS), help="one part of it")
    parser.add_argument("--tiny", action="store_true", help="prove that it runs; the figures mean nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    chosen = parser.parse_args()
    console = Console(width=max(WIDTH, shutil.get_terminal_size().columns) if not sys.stdout.isatty() else None)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start: read the ratios")
    parts = [chosen.only] if chosen.only else list(PARTS)
    figures = run(parts, TINY if chosen.tiny else FULL, chosen.output, console)
    missed = [figure.name for figure in figures if figure.holds is False]
    console.print(f"\n{len(figures)} figures in {chosen.output.name}; over budget: {', '.join(missed) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
