"""Who asks too often, over HTTP: clients by their own limit, strangers before the database is asked, guesses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aquasmart_cloud import cli
from aquasmart_cloud.config import Config
from aquasmart_cloud.core.errors import ConfigError
from aquasmart_cloud.store.clients import Clients
from aquasmart_cloud.web.app import create_app
from aquasmart_cloud.web.doorstep import STRANGERS
from tests.integration.cloud.foreign.gunicorn import Served, event
from tests.integration.cloud.senders import CloudUnderTest, Run

HERE, THERE = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.2"}


def rename(cloud: CloudUnderTest, table: str, name: str) -> None:
    with cloud.database.writing() as connection:
        connection.execute(f"ALTER TABLE {table} RENAME TO {name}")


def test_a_client_s_own_limit_is_set_by_the_command_and_concerns_nobody_else(
    cloud: CloudUnderTest, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Config, "or_exit", classmethod(lambda _: cloud.config))
    run = CliRunner().invoke
    tokens = {name: Clients(cloud.database).add(name, 1).token for name in ("acme", "other")}

    def sent(name: str, number: int) -> Any:
        headers = {"Authorization": f"Bearer {tokens[name]}"}
        return cloud.client.post("/api/events", json=event(id=str(number)), headers=headers)

    assert [sent("acme", number).status_code for number in range(4)] == [201] * 4
    done = run(cli.main, ["client", "set", "c_acme", "--rate-limit", "3/minute"])
    assert json.loads(done.output)["rate_limit"] == "3/minute"
    assert [sent("acme", number).status_code for number in range(4, 8)] == [201, 201, 201, 429]
    refused = sent("acme", 8)
    assert (refused.json["code"], refused.headers["Retry-After"]) == ("rate-limited", "20")
    assert sent("other", 1).status_code == 201
    cloud.now_ms += 20_000
    assert sent("acme", 8).status_code == 201
    assert sent("acme", 9).status_code == 429
    assert json.loads(run(cli.main, ["client", "set", "c_acme", "--rate-limit", "none"]).output)["rate_limit"] is None
    assert sent("acme", 9).status_code == 201
    assert cloud.one("SELECT count(*) FROM foreign_event WHERE client_id = 'c_acme'") == 9
    wrong = run(cli.main, ["client", "set", "c_acme", "--rate-limit", "often"])
    assert wrong.exit_code == 1
    assert "20/second" in wrong.output


def flood(cloud: CloudUnderTest) -> list[int]:
    """Unsigned requests of ever other stations, from one address."""
    return [
        cloud.client.post("/v1/ingest", headers={"X-Station-Id": f"s-{n}"}, environ_overrides=HERE).status_code
        for n in range(STRANGERS.requests + 20)
    ]


def test_a_flood_of_strangers_is_refused_before_the_database_is_asked(cloud: CloudUnderTest) -> None:
    known, unknown = cloud.station("known"), cloud.station("unknown")
    cloud.client.environ_base.update(HERE)
    run = Run(1_000_000)
    known.take(run.batch([1]))
    answers = flood(cloud)
    assert answers == [401] * STRANGERS.requests + [429] * 20
    rename(cloud, "station_key", "gone")
    stranger = cloud.client.post("/v1/ingest")
    # No table, and yet an answer; unsigned, so that it may only make a station slower (docs/protocol.md §2).
    assert (stranger.status_code, "X-Signature" in stranger.headers) == (429, False)
    assert int(stranger.headers["Retry-After"]) == 1
    assert cloud.client.get("/api/events", headers={"Authorization": "Bearer c_acme.x"}).status_code == 429
    rename(cloud, "gone", "station_key")
    # Behind the same address: who was right lately is heard; who is new waits, and is heard then.
    known.take(run.batch([1]))
    waiting = Run(1_000_000).batch([1])
    assert unknown.send(waiting).status_code == 429
    cloud.now_ms += 1_000
    assert unknown.send(waiting).status_code == 200
    cloud.client.environ_base.update(THERE)
    assert cloud.client.post("/v1/ingest").status_code == 401


def test_links_are_guessed_no_more_often_than_tokens(cloud: CloudUnderTest) -> None:
    answers = [cloud.client.get(f"/sign-in/guess-{n}", environ_overrides=HERE).status_code for n in range(12)]
    assert answers == [410] * 10 + [429] * 2
    assert cloud.client.post("/sign-in", data={"token": "x"}, environ_overrides=HERE).status_code == 429
    assert cloud.client.post("/sign-in", data={"token": "x"}, environ_overrides=THERE).status_code == 401


def test_behind_so_many_proxies_the_address_is_the_one_that_the_outermost_saw(cloud: CloudUnderTest) -> None:
    def guesses(proxies: int, forwarded: str) -> list[int]:
        app = create_app(replace(cloud.config, proxies=proxies), clock_ms=lambda: cloud.now_ms)
        client = app.test_client()
        said = [
            client.post("/sign-in", data={"token": "x"}, headers={"X-Forwarded-For": forwarded.format(n)}).status_code
            for n in range(12)
        ]
        app.extensions["aquasmart"].database.close()
        return said

    assert guesses(1, "198.51.100.{}") == [401] * 12, "twelve people"
    assert guesses(0, "198.51.100.{}") == [401] * 10 + [429] * 2, "no proxy: whoever says so is one sender"
    assert guesses(1, "198.51.100.{}, 192.0.2.9") == [401] * 10 + [429] * 2, "what the sender wrote himself is ignored"


def test_the_number_of_proxies_is_judged(tmp_path: Path) -> None:
    assert Config.from_environment(Served(tmp_path / "a", AQUASMART_PROXIES="2").environment()).proxies == 2
    with pytest.raises(ConfigError, match="AQUASMART_PROXIES"):
        Config.from_environment(Served(tmp_path / "b", AQUASMART_PROXIES="yes").environment())
