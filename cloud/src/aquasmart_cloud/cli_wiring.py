"""What the operator's commands share: errors in one line, the services they need, JSON. No command lives here."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click

from .config import Config
from .core.errors import CloudError
from .store.config_documents import Documents
from .store.database import Database
from .store.keyring import MasterKeys
from .store.stations import Stations


class Group(click.Group):
    """Turns the package's errors into one line and its hint, instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CloudError as error:
            raise click.ClickException(f"{error}\n{error.hint}".rstrip()) from error
        except OSError as error:
            raise click.ClickException(str(error)) from error


@dataclass
class Wiring:
    """What a command needs, made when it first asks: `init` works before any of it exists."""

    @cached_property
    def config(self) -> Config:
        return Config.or_exit()

    @cached_property
    def database(self) -> Database:
        database = Database(self.config.database_url)
        click.get_current_context().call_on_close(database.close)
        return database

    @cached_property
    def stations(self) -> Stations:
        return Stations(self.database, self.keys)

    @cached_property
    def keys(self) -> MasterKeys:
        return self.config.keys()

    @cached_property
    def documents(self) -> Documents:
        return Documents(self.database)


wired = click.make_pass_decorator(Wiring, ensure=True)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def now_ms() -> int:
    """Unix milliseconds, UTC."""
    return time.time_ns() // 1_000_000


def print_json(document: object) -> None:
    """One document on one line."""
    click.echo(json.dumps(document, ensure_ascii=False, separators=(", ", ": ")))
