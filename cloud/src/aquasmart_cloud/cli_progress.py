"""What commands that take long show meanwhile: on standard error, to people at a terminal. And litres in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def litres(volume_ul: int) -> str:
    """Microlitres as litres with all six decimals, by integers."""
    sign, rest = ("-", -volume_ul) if volume_ul < 0 else ("", volume_ul)
    return f"{sign}{rest // 1_000_000}.{rest % 1_000_000:06d} l"


@contextmanager
def bars(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each part: told its name, how far it is, and of how much."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda *_: None
        return
    with Progress(console=console) as shown:
        known: dict[str, Any] = {}

        def show_part(what: str, done: int, of: int) -> None:
            if not of:
                return  # nothing to wait for, and a bar that would never end
            if what not in known:
                known[what] = shown.add_task(what)
            shown.update(known[what], completed=done, total=of)

        yield show_part
