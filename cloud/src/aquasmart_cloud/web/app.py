"""The application factory: wires configuration, database and one blueprint per audience. No route lives here."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from flask import Flask

from aquasmart_cloud.config import Config
from aquasmart_cloud.core.model import MAX_BODY_BYTES
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.faulty import FaultyDatabase
from aquasmart_cloud.store.stations import Stations

from . import answers, auth, failed_api, faults, health, pages, public_api, query_api, station_api
from .services import EXTENSION, Cloud


def create_app(config: Config | None = None, clock_ms: Callable[[], int] = answers.now_ms) -> Flask:
    """The WSGI application. Without a configuration, the environment's: exits with 78 where that is unusable.

    Opens nothing: each thread opens its connection at its first request, after gunicorn has forked.
    """
    chosen = Config.or_exit() if config is None else config
    app = Flask("aquasmart_cloud.web")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    database = Database(chosen.database_url)
    if chosen.faults:
        faulty = FaultyDatabase(database)
        faults.install(app, faulty, chosen.faults)
        database = cast("Database", faulty)
    app.extensions[EXTENSION] = Cloud(chosen, database, Stations(database, chosen.master_key), clock_ms)
    answers.install(app)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(station_api.blueprint)
    for blueprint in (public_api.blueprint, failed_api.blueprint, query_api.blueprint):
        app.register_blueprint(blueprint)
    auth.install(app, database=database, master_key=chosen.master_key, admin_token=chosen.admin_token)
    pages.install(app, database=database)
    return app
