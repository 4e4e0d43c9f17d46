"""How the command line looks: one console and one kind of table. Colours only on a terminal, and none with NO_COLOR."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

PIPE_COLUMNS = 200
"""Into a pipe or file nothing is cut to a terminal's width."""


def console() -> Console:
    """Where output goes."""
    made = Console(highlight=False, markup=False)
    return made if made.is_terminal else Console(highlight=False, markup=False, width=PIPE_COLUMNS)


def table(*names: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines; `right` names the columns of figures."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made
