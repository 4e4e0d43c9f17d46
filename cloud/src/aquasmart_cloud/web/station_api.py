"""The stations' side of HTTP."""

from flask import Blueprint

blueprint = Blueprint("station_api", __name__)
