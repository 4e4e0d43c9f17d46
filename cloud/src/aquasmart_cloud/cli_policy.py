"""The operator's commands for what every station must keep to: the least software, and a rate.

Arguments in, store called, words or JSON out.
"""

from __future__ import annotations

import click

from .cli_wiring import Wiring, as_json, now_ms, print_json, wired
from .store import policy as stored


@click.group()
def policy() -> None:
    """What every station must keep to."""


@policy.command("minimum-version")
@click.argument("version", required=False)
@click.option("--none", "clear", is_flag=True, help="Any software is welcome again.")
@as_json
@wired
def minimum_version(wiring: Wiring, version: str | None, *, clear: bool, as_json: bool) -> None:
    """Hold stations whose software is older than VERSION: they keep everything, and send it once they are updated."""
    if clear or version is not None:
        stored.require_version(wiring.database, None if clear else version, now_ms())
    _show_policy(wiring, as_json=as_json)


@policy.command("rate-limit")
@click.argument("rate", required=False)
@click.option("--none", "clear", is_flag=True, help="No limit.")
@as_json
@wired
def rate_limit(wiring: Wiring, rate: str | None, *, clear: bool, as_json: bool) -> None:
    """Answer what a station asks above RATE, such as 600/minute, with 429 and when to come back."""
    if clear or rate is not None:
        stored.limit_rate(wiring.database, None if clear else rate, now_ms())
    _show_policy(wiring, as_json=as_json)


@policy.command("show")
@as_json
@wired
def show_policy(wiring: Wiring, *, as_json: bool) -> None:
    """What is demanded now."""
    _show_policy(wiring, as_json=as_json)


def _show_policy(wiring: Wiring, *, as_json: bool) -> None:
    found = stored.read_policy(wiring.database)
    rate = None if found.rate is None else {"requests": found.rate.requests, "period_ms": found.rate.period_ms}
    if as_json:
        print_json({"minimum_version": found.minimum_version, "rate_limit": rate})
        return
    limit = "none" if found.rate is None else f"{found.rate.requests} requests in {found.rate.period_ms // 1000} s"
    click.echo(f"minimum version: {found.minimum_version or 'none'}\nrate limit per station: {limit}")
