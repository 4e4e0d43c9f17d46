"""AquaSmart cloud: verifies, books and shows what the stations count."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from .config import Config

__version__ = "0.1.0"


def create_app(config: Config | None = None) -> Flask:
    """The WSGI application, for `gunicorn -c deploy/gunicorn.conf.py 'aquasmart_cloud:create_app()'`.

    Imported late, so that asking for the version or running a command does not load the web.
    """
    from .web.app import create_app as create

    return create(config)
