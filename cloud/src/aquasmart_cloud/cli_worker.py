"""`aquasmart-cloud worker`: what runs on a clock, and who does it. Arguments in, services called, words or JSON out."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from .cli_wiring import Wiring, as_json, now_ms, print_json, wired
from .services.notifying import Notifier
from .services.working import Ran, Showing, Worker
from .store import job_runs, leases
from .worker_wiring import make_jobs

_STOP_WITHIN_S = 4.0
"""After this much grace the process ends wherever it is: every transaction is whole or was never made."""


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="Run every job once and end; exit status 1 if one failed.")
@as_json
@wired
@click.pass_context
def worker(context: click.Context, wiring: Wiring, *, once: bool, as_json: bool) -> None:
    """Do what runs on a clock: retries, retention, months made ahead, figures of the fleet.

    One process does it, however many are started: the others wait, and one takes over within seconds when it is gone.
    """
    if context.invoked_subcommand is not None:
        return
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("aquasmart").setLevel(logging.INFO)
    with stoppable() as stop:
        if once:
            _once(wiring, stop, as_json=as_json)
            return
        notifier = Notifier.of_environment()
        showing = Showing(
            life=notifier.life,
            state=notifier.status,
            ran=lambda ran: _print_run(ran, as_json=as_json),
        )
        notifier.ready()
        Worker(wiring.database, make_jobs(wiring.config), _holder(), showing).run(stop)
        notifier.stopping()


def _holder() -> str:
    """Whoever works: for people the machine and process, and unique for ever by what is random."""
    return f"{socket.gethostname()[:100]}/{os.getpid()}/{secrets.token_hex(4)}"


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set. The running job ends at its next transaction; if it has none within the
    grace, the process ends: what was not committed never was, and is done again by whoever leads next."""
    stop = threading.Event()

    def ask(_number: int, _frame: object) -> None:
        if not stop.is_set():
            stop.set()
            late = threading.Timer(_STOP_WITHIN_S, os._exit, (0,))
            late.daemon = True
            late.start()

    former = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _once(wiring: Wiring, stop: threading.Event, *, as_json: bool) -> None:
    runs = Worker(wiring.database, make_jobs(wiring.config), _holder()).once(stop)
    if runs is None:
        held = leases.show(wiring.database, leases.WORKER)
        leader = held.holder if held else ""
        if as_json:
            print_json({"led": False, "leader": leader, "jobs": []})
        else:
            click.echo(f"nothing to do here: {leader} leads, and does it")
        return
    if as_json:
        print_json({"led": True, "jobs": [_run_document(ran) for ran in runs]})
    else:
        for ran in runs:
            click.echo(f"{ran.job}: {ran.error or ran.said or 'nothing to do'}")
    if failed := [ran.job for ran in runs if ran.error]:
        raise click.ClickException(f"failed: {', '.join(failed)}; 'aquasmart-cloud worker status' shows why")


def _run_document(ran: Ran) -> dict[str, Any]:
    return {
        "job": ran.job,
        "at": ran.at_ms,
        "duration_ms": ran.duration_ms,
        "done": ran.said or None,
        "error": ran.error or None,
    }


def _print_run(ran: Ran, *, as_json: bool) -> None:
    if as_json and (ran.said or ran.error):
        print_json(_run_document(ran))


@worker.command("status")
@as_json
@wired
def status(wiring: Wiring, *, as_json: bool) -> None:
    """Who leads since when, and each job's last run. Exit status 1 if nobody leads or a job fails."""
    held, runs = leases.show(wiring.database, leases.WORKER), job_runs.every(wiring.database)
    leads = held is not None and held.valid
    if as_json:
        leader = {"holder": held.holder, "since": held.taken_at, "fence": held.fence} if held and leads else None
        print_json({"leader": leader, "jobs": [job_runs.document(run) for run in runs.values()]})
    else:
        click.echo(f"{held.holder} leads since {_time(held.taken_at)}" if held and leads else _nobody(held))
        for run in runs.values():
            click.echo(_line(run))
    failing = [run.job for run in runs.values() if run.failures]
    if not leads:
        raise click.ClickException("nothing that runs on a clock is done: start 'aquasmart-cloud worker'")
    if failing:
        raise click.ClickException(f"failing: {', '.join(failing)}; its log says more")


def _nobody(held: leases.Held | None) -> str:
    return "nobody has led yet" if held is None else f"nobody leads; {held.holder} did last"


def _line(run: job_runs.JobRun) -> str:
    seconds = max(now_ms() - run.started_at, 0) // 1000
    text = f"{run.job}: {run.runs} runs, the last {seconds} s ago in {run.duration_ms} ms"
    if run.said_at is not None:
        text += f"; last did: {run.said} ({_time(run.said_at)})"
    if run.failures:
        text += f"; FAILS, {run.failures} times in a row: {run.error}; next try {_time(run.due_at)}"
    elif run.error_at is not None:
        text += f"; failed last at {_time(run.error_at)}: {run.error}"
    return text


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
