"""`aquasmart drain`: send now what waits for the cloud, and see it go."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ..config import Config, load_config
from ..core.phrases import Phrase
from ..core.showing import state_words
from .asking import ask
from .words import shown, tr, trn

if TYPE_CHECKING:
    from ..adapters.ops import OpsFile

NOT_YET = 75
LOOK_EVERY_S = 0.25
SAY_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the log of the moment at which it was asked has been acknowledged, in events."""

    done: int
    total: int
    state: str
    text: str


class Backlog:
    """What waited when it was asked: every stream's end and mark at that time."""

    def __init__(self, config: Config) -> None:
        from ..adapters.log_view import LogView

        self._config = config
        with LogView(config.log_path) as log:
            self._until = {s.number: (s.acked_seq, s.last_seq) for s in log.standings() if s.pending}

    def look(self) -> Progress:
        """Raises LogError."""
        from ..adapters.live import read_service
        from ..adapters.log_view import LogView
        from ..services.report import running_state

        with LogView(self._config.log_path) as log:
            acked = {s.number: s.acked_seq for s in log.standings()}
        done = sum(min(acked.get(n, first), last) - first for n, (first, last) in self._until.items())
        said = read_service(self._config.live_path, "sync_state")
        total = sum(last - first for first, last in self._until.values())
        return Progress(max(0, done), total, running_state(said), said.text if said else Phrase("sync does not run"))


@click.command()
@click.option("--wait", is_flag=True, help="Wait until all that was logged by now is acknowledged.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), help="With --wait: give up after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document at the end.")
@click.pass_context
def drain(context: click.Context, *, wait: bool, timeout_s: float | None, as_json: bool) -> None:
    """Ask sync to send at once all that waits. Ctrl-C ends the waiting, not the sending.

    Exit status: 0 asked, or with --wait everything delivered; 75 not everything in time; 130 interrupted.
    """
    from ..adapters.ops import OpsFile

    config = load_config(context.obj, secrets=False)
    backlog = Backlog(config)
    ops = OpsFile(config.ops_path)
    number = ask(ops, "drain", {})
    if not wait:
        now = backlog.look()
        _end(now, asked=number, as_json=as_json, words=tr("asked; `aquasmart drain --wait` shows how it goes"))
        return
    try:
        now = _watch(backlog, ops, number, timeout_s, as_json=as_json)
    except KeyboardInterrupt:
        click.echo("\n" + tr("not waiting any longer; sync goes on"), err=True)
        context.exit(130)
    delivered = now.done >= now.total
    words = tr("everything is delivered")
    if not delivered:
        words = trn("{n} event still waits; sync goes on", "{n} events still wait; sync goes on", now.total - now.done)
    _end(now, asked=number, as_json=as_json, words=words)
    context.exit(0 if delivered else NOT_YET)


def _watch(backlog: Backlog, ops: OpsFile, number: int, timeout_s: float | None, *, as_json: bool) -> Progress:
    """Until everything is delivered or time is up; the last figures."""
    if as_json or not sys.stdout.isatty():
        say = (lambda _: None) if as_json else _line
        return _until(backlog, ops, number, timeout_s, say, SAY_EVERY_S)
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    with Bar(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[words]}")) as bar:
        task = bar.add_task("drain", words="")
        return _until(
            backlog,
            ops,
            number,
            timeout_s,
            lambda now: bar.update(task, completed=now.done, total=now.total, words=shown(now.text)[:60]),
            0.0,
        )


def _until(
    backlog: Backlog,
    ops: OpsFile,
    number: int,
    timeout_s: float | None,
    say: Callable[[Progress], None],
    every_s: float,
) -> Progress:
    from ..adapters import operation_rows

    began_s, said_s = time.monotonic(), -every_s
    while True:
        now = backlog.look()
        with ops.reading() as connection:
            answered = operation_rows.answer_to(connection, number) is not None
        ended = now.done >= now.total or (timeout_s is not None and time.monotonic() - began_s >= timeout_s)
        if ended or time.monotonic() - said_s >= every_s:
            say(now)
            said_s = time.monotonic()
        if ended or answered:
            return backlog.look()
        time.sleep(LOOK_EVERY_S)


def _line(now: Progress) -> None:
    of = tr("{done} of {total} events", done=now.done, total=now.total)
    click.echo(f"{of}  {shown(state_words(now.state))}: {shown(now.text)}")


def _end(now: Progress, *, asked: int, as_json: bool, words: str) -> None:
    if as_json:
        figures = {"request": asked, "delivered": now.done, "total": now.total, "sync_state": now.state}
        click.echo(json.dumps(figures))
        return
    if now.state in {"not-running", "stopped"}:
        click.echo(tr("sync does not run: systemctl start aquasmart-sync"), err=True)
    click.echo(words)
