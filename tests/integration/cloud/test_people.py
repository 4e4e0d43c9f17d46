"""Who gets in, and what they then see: the real application on a real database."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select

from aquasmart_cloud.config import Config
from aquasmart_cloud.store import migrating, schema, sign_in
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.stations import Stations
from aquasmart_cloud.web.app import create_app

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
MINUTE_MS = 60_000


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(f"sqlite:///{tmp_path}/cloud.db", bytes(range(32)), TOKEN)


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    database = Database(config.database_url)
    migrating.upgrade(database)
    yield database
    database.close()


@pytest.fixture
def client(config: Config, database: Database) -> Iterator[FlaskClient]:
    app = create_app(config)
    yield app.test_client()
    app.extensions["aquasmart"].database.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def add_station(database: Database, station_id: str, *, volume_ul: int = 0, seen: bool = True) -> None:
    """A station with one meter that gave `volume_ul` in this minute."""
    Stations(database, bytes(range(32))).add(station_id, "", now_ms())
    minute = now_ms() // MINUTE_MS * MINUTE_MS
    epoch = uuid.uuid4()
    said = {
        "state": "online",
        "software": "9.9",
        "pending": 7,
        "oldest_pending_s": 30,
        "clock": "ntp",
        "meters": [{"x": 1}],
    }
    with database.engine.begin() as connection:
        if seen:
            connection.execute(
                schema.station.update()
                .where(schema.station.c.station_id == station_id)
                .values(last_seen_at=now_ms(), events=450, volume_ul=volume_ul)
            )
            connection.execute(
                schema.heartbeat.insert().values(station_id=station_id, received_at=now_ms(), document=json.dumps(said))
            )
        place = {"station_id": station_id, "meter_id": "tap-1"}
        connection.execute(
            schema.epoch.insert().values(
                **place, epoch=epoch, identity=None, identity_strong=False, modulus=None, epoch_from=1_000_000,
                root_epoch=epoch, shift_counts=0, counts_through=1_000_450, opened_at=minute,
            )
        )  # fmt: skip
        connection.execute(
            schema.ledger_interval.insert().values(
                **place, epoch=epoch, from_counts=1_000_000, to_counts=1_000_450, ul_num=20_000, den=9,
                shift_counts=0, kind="live", stream=uuid.uuid4(), bucket_at=None,
            )
        )  # fmt: skip
        for grain in ("minute", "hour", "day"):
            at = minute // schema.GRAIN_WIDTHS_MS[grain] * schema.GRAIN_WIDTHS_MS[grain]
            connection.execute(
                schema.rollup.insert().values(
                    **place, grain=grain, bucket_at=at, volume_ul=volume_ul, disputed_ul=0, events=450
                )
            )


def open_hole(database: Database, station_id: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(
            schema.ledger_entry.insert().values(
                station_id=station_id, entry_id=1, meter_id="tap-1", epoch=None, kind="hole", subject="x",
                from_counts=5, to_counts=9, volume_ul=8_888, detail="{}", opened_at=now_ms(), state="open",
            )
        )  # fmt: skip


def sign_in_by_form(client: FlaskClient, token: str = TOKEN, **headers: str) -> int:
    return client.post("/sign-in", data={"token": token}, headers=headers).status_code


class TestTheDoor:
    def test_pages_lead_to_the_sign_in_and_programs_are_told(self, client: FlaskClient) -> None:
        home = client.get("/")
        assert (home.status_code, home.headers["Location"]) == (303, "/sign-in")
        assert client.get("/stations/x").headers["Location"] == "/sign-in?next=%2Fstations%2Fx"
        refused = client.get("/api/fleet")
        assert (refused.status_code, refused.mimetype) == (401, "application/problem+json")
        assert refused.json is not None
        assert refused.json["code"] == "unauthorised"

    def test_the_token_opens_a_session_that_survives_a_restart(self, client: FlaskClient, config: Config) -> None:
        answer = client.post("/sign-in", data={"token": TOKEN, "next": "/?x=1"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/?x=1")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        restarted = create_app(config).test_client()
        restarted.set_cookie("aquasmart", cookie.partition("=")[2].partition(";")[0])
        assert restarted.get("/api/fleet").status_code == 200

    def test_a_new_token_ends_every_session(self, client: FlaskClient, config: Config) -> None:
        cookie = client.post("/sign-in", data={"token": TOKEN}).headers["Set-Cookie"]
        other = create_app(Config(config.database_url, config.master_key, "another-token-altogether")).test_client()
        other.set_cookie("aquasmart", cookie.partition("=")[2].partition(";")[0])
        assert other.get("/api/fleet").status_code == 401

    def test_behind_https_the_cookie_is_secure(self, client: FlaskClient) -> None:
        answer = client.post("/sign-in", data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"})
        assert "Secure" in answer.headers["Set-Cookie"]

    @pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example"])
    def test_sign_in_leads_only_to_our_own_pages(self, client: FlaskClient, elsewhere: str) -> None:
        answer = client.post("/sign-in", data={"token": TOKEN, "next": elsewhere})
        assert answer.headers["Location"] == "/"

    @pytest.mark.parametrize("told", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
    def test_a_form_from_elsewhere_is_refused(self, client: FlaskClient, told: dict[str, str]) -> None:
        assert client.post("/sign-in", data={"token": TOKEN}, headers=told).status_code == 403
        assert client.get("/api/fleet").status_code == 401

    def test_wrong_tokens_are_refused_and_after_ten_of_them_everything_waits(self, client: FlaskClient) -> None:
        assert [sign_in_by_form(client, f"wrong {n}") for n in range(10)] == [401] * 10
        limited = client.post("/sign-in", data={"token": TOKEN})
        assert limited.status_code == 429
        assert 0 < int(limited.headers["Retry-After"]) <= 60
        program = client.get("/api/fleet", headers=BEARER)
        assert (program.status_code, program.mimetype) == (429, "application/problem+json")

    def test_sign_out_ends_it(self, client: FlaskClient) -> None:
        sign_in_by_form(client)
        assert client.get("/").status_code == 200
        assert client.post("/sign-out").status_code == 303
        assert client.get("/").status_code == 303

    @pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic abc", "Bearer wrong", "x"])
    def test_programs_need_the_right_token(self, client: FlaskClient, header: str) -> None:
        assert client.get("/api/fleet", headers={"Authorization": header}).status_code == 401
        assert client.get("/api/fleet", headers=BEARER).status_code == 200


class TestTheOneTimeLink:
    def test_works_once(self, client: FlaskClient, config: Config, database: Database) -> None:
        token = sign_in.make_link(database, now_ms())
        opened = client.get(f"/sign-in/{token}")
        assert (opened.status_code, opened.headers["Location"]) == (303, "/")
        assert client.get("/").status_code == 200
        again = create_app(config).test_client().get(f"/sign-in/{token}")
        assert again.status_code == 410
        assert "has been used" in again.text
        with database.engine.connect() as connection:
            stored = connection.execute(select(schema.sign_in_link)).one()
        assert stored.used_at is not None
        assert token not in str(stored), "only its digest is stored"

    def test_is_too_old_after_a_quarter_of_an_hour(self, client: FlaskClient, database: Database) -> None:
        token = sign_in.make_link(database, now_ms() - sign_in.LIFETIME_MS - 1)
        assert client.get(f"/sign-in/{token}").status_code == 410

    def test_previews_do_not_use_it_up(self, client: FlaskClient, database: Database) -> None:
        token = sign_in.make_link(database, now_ms())
        assert client.head(f"/sign-in/{token}").status_code == 204
        assert client.get(f"/sign-in/{token}", headers={"Sec-Purpose": "prefetch"}).status_code == 204
        assert client.get("/").status_code == 303
        assert client.get(f"/sign-in/{token}").status_code == 303
        assert client.get("/").status_code == 200


class TestWhatIsSeen:
    def test_an_empty_fleet_says_what_to_do_next(self, client: FlaskClient) -> None:
        sign_in_by_form(client)
        page = client.get("/").text
        assert "aquasmart-cloud station add" in page
        assert re.search(r'id="stations"[^>]* hidden', page)

    def test_the_fleet_adds_up_exactly(self, client: FlaskClient, database: Database) -> None:
        add_station(database, "kiosk-1", volume_ul=2**60 + 1)
        add_station(database, "kiosk-2", volume_ul=2)
        add_station(database, "kiosk-3", seen=False)
        fleet = json.loads(client.get("/api/fleet", headers=BEARER).data)
        assert fleet["volume_ul"] == fleet["today_ul"] == 2**60 + 3
        assert fleet["minutes"][0][1] == 2**60 + 3
        states = {station["station_id"]: station["state"] for station in fleet["stations"]}
        assert states == {"kiosk-1": "online", "kiosk-2": "online", "kiosk-3": "never"}
        first = fleet["stations"][0]
        assert (first["pending"], first["oldest_pending_s"], first["software"]) == (7, 30, "9.9")

    def test_the_page_shows_it_without_any_script(self, client: FlaskClient, database: Database) -> None:
        add_station(database, "kiosk-1", volume_ul=1_234_567_890)
        sign_in_by_form(client)
        page = re.sub(r"<template>.*?</template>|<[^>]*>", "", client.get("/").text, flags=re.DOTALL)
        assert "1,234.567890 L" in page
        assert "Online" in page
        assert "7 events, oldest 30 s" in page

    def test_a_station_page_explains_its_differences(self, client: FlaskClient, database: Database) -> None:
        add_station(database, "kiosk-1", volume_ul=1_000_000)
        open_hole(database, "kiosk-1")
        sign_in_by_form(client)
        page = client.get("/stations/kiosk-1").text
        assert "Not yet reported" in page
        assert "450 counts/L" in page
        station = json.loads(client.get("/api/stations/kiosk-1").data)
        assert station["differences"][0]["volume_ul"] == 8_888
        assert station["intervals"][0]["volume_ul"] == 1_000_000
        assert station["meters"] == [], "a meter without an id is not one"
        assert client.get("/api/fleet").json["stations"][0]["open_differences"] == 1

    def test_an_unknown_station_is_said_in_words(self, client: FlaskClient) -> None:
        assert client.get("/api/stations/nowhere", headers=BEARER).status_code == 404
        sign_in_by_form(client)
        page = client.get("/stations/nowhere")
        assert (page.status_code, page.mimetype) == (404, "text/html")
        assert "knows no station nowhere" in page.text

    def test_an_unreadable_database_is_said_in_words(self, tmp_path: Path) -> None:
        (tmp_path / "broken.db").write_bytes(b"not a database" * 100)
        client = create_app(Config(f"sqlite:///{tmp_path}/broken.db", bytes(range(32)), TOKEN)).test_client()
        sign_in_by_form(client)
        page = client.get("/")
        assert (page.status_code, page.mimetype) == (503, "text/html")
        assert client.get("/api/fleet").status_code == 503

    def test_browsers_are_told_to_run_nothing_but_our_own_files(self, client: FlaskClient) -> None:
        for path in ("/sign-in", "/", "/static/js/fleet.js"):
            with client.get(path) as answer:
                headers = answer.headers
            assert headers["Content-Security-Policy"].startswith("default-src 'self';")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
        sign_in_by_form(client)
        page = client.get("/").text
        assert not re.search(r"<script(?![^>]*src=)| style=| on\w+=|javascript:|https?://(?!www\.w3\.org)", page)

    @pytest.mark.parametrize("path", ["/api/fleet", "/api/stations/s-000"])
    def test_the_number_of_queries_does_not_grow_with_the_fleet(
        self, client: FlaskClient, database: Database, path: str
    ) -> None:
        asked: list[str] = []
        engine = client.application.extensions["aquasmart"].database.engine
        event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
        add_station(database, "s-000", volume_ul=1)
        client.get(path, headers=BEARER)
        few, asked[:] = len(asked), []
        for number in range(1, 12):
            add_station(database, f"s-{number:03d}", volume_ul=1)
        client.get(path, headers=BEARER)
        assert len(asked) == few <= 10

    def test_minutes_are_sought_in_the_key_not_scanned_for(self, client: FlaskClient, database: Database) -> None:
        asked: list[tuple[str, tuple[object, ...]]] = []
        engine = client.application.extensions["aquasmart"].database.engine
        event.listen(engine, "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))
        add_station(database, "s-000", volume_ul=1)
        client.get("/api/fleet", headers=BEARER)
        plans = []
        with database.engine.connect() as connection:
            for statement, values in asked:
                if "rollup" in statement:
                    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                    plans.append(" ".join(row[3] for row in plan))
        assert len(plans) == 2
        for plan in plans:
            assert "SEARCH rollup USING" in plan
            assert "bucket_at" in plan
