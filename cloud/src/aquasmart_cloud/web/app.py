"""The application factory: wires configuration, database and one blueprint per audience. No route lives here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from aquasmart_cloud.config import Config
from aquasmart_cloud.core.model import MAX_BODY_BYTES
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.faulty import FaultyDatabase
from aquasmart_cloud.store.rates import counter_at
from aquasmart_cloud.store.stations import Stations

from . import (
    alerts_api,
    answers,
    auth,
    config_api,
    entrance,
    failed_api,
    failed_pages,
    faults,
    health,
    ledger_api,
    ledger_pages,
    metrics,
    operations_api,
    pages,
    public_api,
    query_api,
    rollout_pages,
    station_api,
    tracing,
    update_api,
)
from .doorstep import Doorstep
from .services import EXTENSION, Cloud
from .turnstile import FleetSize, Turnstile


class Application(Flask):
    """Flask without what each request pays for and nobody here uses."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Every view is a plain function: none needs to be asked whether it is a coroutine."""
        return func


def create_app(config: Config | None = None, clock_ms: Callable[[], int] = answers.now_ms) -> Flask:
    """The WSGI application. Without a configuration, the environment's: exits with 78 where that is unusable.

    Opens nothing: each thread opens its connection at its first request, after gunicorn has forked.
    """
    chosen = Config.or_exit() if config is None else config
    app = Application("aquasmart_cloud.web")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    database = Database(chosen.database_url)
    if chosen.faults:
        faulty = FaultyDatabase(database)
        faults.install(app, faulty, chosen.faults)
        database = cast("Database", faulty)
    keys = chosen.keys()
    stations = Stations(database, keys)
    counter = counter_at(chosen.rate_limit_storage, chosen.rate_limit_password)
    turnstile, doorstep = Turnstile(counter), Doorstep(counter)
    app.extensions[EXTENSION] = Cloud(chosen, database, stations, turnstile, doorstep, FleetSize(stations), clock_ms)
    if chosen.proxies:
        # Exactly so many: what stands further left in X-Forwarded-For is whatever the sender likes.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=chosen.proxies, x_proto=chosen.proxies)  # type: ignore[method-assign]
    tracing.install(app)
    entrance.install(app)
    answers.install(app)
    stations_own = (station_api, operations_api, config_api, update_api)
    audiences = (*stations_own, public_api, failed_api, query_api, alerts_api, ledger_api)
    for module in (health, metrics, *audiences):
        app.register_blueprint(module.blueprint)
    auth.install(app, database=database, keys=keys, admin_token=chosen.admin_token)
    pages.install(app, database=database)
    app.register_blueprint(failed_pages.blueprint)
    app.register_blueprint(ledger_pages.blueprint)
    app.register_blueprint(rollout_pages.blueprint)
    return app
