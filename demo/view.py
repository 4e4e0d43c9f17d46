"""How the running demonstration looks in a terminal, and as plain lines where there is none.

Turns a `Snapshot` into words. Starts nothing, reads no file, decides nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.snapshot import Snapshot

UL_PER_LITRE = 1_000_000
TOLD_AT_MOST = 4
NORMAL_WAIT_S = 10
"""A connected station gathers events for some seconds before it sends them."""
LINK_WORDS = {"pass": "connected", "cut": "CUT", "black-hole": "swallows everything"}


@dataclass
class Board:
    """What stands around the figures."""

    url: str
    sign_in: str
    state_folder: str
    keys: bool
    link: str = "pass"
    told: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=TOLD_AT_MOST))
    """What happened: (time of day, words), latest last."""


def litres(volume_ul: int | None, places: int = 6) -> str:
    """Exact litres by integers: 1,234.567890."""
    if volume_ul is None:
        return "–"
    whole, rest = divmod(abs(volume_ul), UL_PER_LITRE)
    return f"{'−' if volume_ul < 0 else ''}{whole:,}.{f'{rest:06d}'[:places]}"


def balance(snapshot: Snapshot, link: str) -> tuple[str, str]:
    """Colour and words: do the books balance, and if not, where is the difference?"""
    meter, log, cloud = snapshot.meter_ul, snapshot.log_ul, snapshot.cloud_ul
    if meter is None or log is None or cloud is None:
        return "yellow", "waiting for the first figures"
    if snapshot.open_differences:
        return "red", f"{snapshot.open_differences} named differences: the station's page says what they are"
    if snapshot.balanced:
        return "green", "in balance to the microlitre: meter = log = cloud"
    if cloud > log or log > meter:
        return "red", f"difference of {litres(max(cloud - log, log - meter))} L that nothing explains"
    uncommitted, waiting = litres(meter - log), litres(log - cloud)
    if link != "pass":
        return "yellow", f"{waiting} L wait on the station, {uncommitted} L not logged yet; nothing is lost"
    return "cyan", f"{waiting} L on the way to the cloud, {uncommitted} L not logged yet"


def backlog(snapshot: Snapshot) -> str:
    """What the station still has to send."""
    if not snapshot.pending:
        return "none"
    return f"{snapshot.pending:,} events, oldest {snapshot.oldest_pending_s} s"


def flow(snapshot: Snapshot) -> str:
    """Litres a minute, one decimal."""
    return "–" if snapshot.flow_ul_s is None else f"{litres(snapshot.flow_ul_s * 60, 1)} L/min"


def plain_line(at: str, snapshot: Snapshot, board: Board) -> str:
    """Everything on one line, for logs and pipes."""
    return (
        f"{at}  meter {litres(snapshot.meter_ul)} L  log {litres(snapshot.log_ul)} L  "
        f"cloud {litres(snapshot.cloud_ul)} L  {balance(snapshot, board.link)[1]}; backlog {backlog(snapshot)}; "
        f"flow {flow(snapshot)}; network {LINK_WORDS[board.link]}; sync {snapshot.sync_state}"
    )


def render(snapshot: Snapshot, board: Board) -> RenderableType:
    """The whole view."""
    colour, words = balance(snapshot, board.link)
    body = Group(
        _figures(snapshot),
        Text(),
        Text.assemble(("● ", colour), (words, colour)),
        Text(),
        _circumstances(snapshot, board),
        *_told(board.told),
        Text(),
        _help(board),
    )
    title = "[bold]AquaSmart[/]"
    panel = Panel(body, title=title, title_align="left", box=box.ROUNDED, padding=(0, 2), width=78)
    return Group(*_addresses(board), panel)


def _addresses(board: Board) -> list[RenderableType]:
    """Outside the frame, so that a terminal finds them whole and a person can copy them."""
    return [
        Text.assemble(" Page     ", (board.url, "bold cyan"), ("   state in ", "dim"), (board.state_folder, "dim")),
        Text(" Sign in with this link; it works once:"),
        Text.assemble(" ", (board.sign_in, "cyan"), overflow="fold"),
    ]


def _figures(snapshot: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", min_width=22)
    table.add_column("litres", justify="right", min_width=18)
    table.add_column("microlitres", justify="right", min_width=20)
    rows = (
        ("Meter, its own count", snapshot.meter_ul),
        ("Log on the station", snapshot.log_ul),
        ("Cloud", snapshot.cloud_ul),
    )
    for name, volume_ul in rows:
        exact = "–" if volume_ul is None else f"{volume_ul:,}"
        table.add_row(name, Text(litres(volume_ul), "bold"), Text(exact, "dim"))
    return table


def _circumstances(snapshot: Snapshot, board: Board) -> Table:
    grid = Table.grid(padding=(0, 2))
    network = Text(LINK_WORDS[board.link], "green" if board.link == "pass" else "bold red")
    grid.add_row("Flow", flow(snapshot), "Meter", snapshot.meter_state)
    grid.add_row("Network", network, "Sync", snapshot.sync_state)
    held = Text(backlog(snapshot), "yellow" if snapshot.oldest_pending_s >= NORMAL_WAIT_S else "")
    booked = "–" if snapshot.cloud_events is None else f"{snapshot.cloud_events:,}"
    grid.add_row("Backlog", held, "Events in the cloud", booked)
    return grid


def _told(told: Sequence[tuple[str, str]]) -> list[RenderableType]:
    lines = [Text.assemble((at, "dim"), "  ", words) for at, words in told]
    return [Text(), *lines] if lines else []


def _help(board: Board) -> Text:
    if not board.keys:
        return Text("Ctrl-C stops everything; make outage and make outage-over cut and restore the network", "dim")
    other = "restore" if board.link == "cut" else "cut"
    return Text.assemble(
        ("o", "bold"), (f" {other} the network   ", "dim"), ("l", "bold"), (" new sign-in link   ", "dim"),
        ("q", "bold"), (" stop (the next run resumes)", "dim"),
    )  # fmt: skip
