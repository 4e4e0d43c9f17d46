"""The panel's Flask application: one page, its live part, JSON, metrics, and a few actions behind the PIN.

The page works without scripts: they only renew its live part. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, abort, flash, jsonify, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from ..config import Config
from ..core.errors import StationError
from ..core.metrics import render
from ..core.phrases import Phrase, sentences
from ..core.showing import ago, litres, state_words
from ..services.metrics import station_metrics
from ..services.panel_actions import ACTIONS
from ..services.panel_view import panel_view
from .access import Access
from .speaking import shown, teach

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def make_panel(config: Config, access: Access, session_key: bytes, busy: Callable[[], None] = lambda: None) -> Flask:
    """The application. `busy` is called at every request: who stops an idle panel counts from there."""
    app = Flask(__name__)
    app.secret_key = session_key
    app.config.update(
        SESSION_COOKIE_NAME="aquasmart_panel",
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_HTTPONLY=True,
        MAX_CONTENT_LENGTH=16 << 10,
    )
    app.jinja_env.filters.update(litres=litres, ago=ago, state_words=state_words)
    teach(app, config.panel.language)
    app.before_request(busy)
    app.before_request(access.check)
    app.after_request(_harden)
    app.register_error_handler(StationError, _fault)

    def page(name: str) -> str:
        return render_template(
            name,
            view=panel_view(config),
            may_act=access.may_act,
            has_pin=access.has_pin,
            form=access.form_token,
        )

    @app.get("/")
    def whole() -> str:
        return page("panel.html")

    @app.get("/live")
    def live() -> str:
        return page("_live.html")

    @app.get("/api/state")
    def state() -> Response:
        return jsonify(panel_view(config))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(render(station_metrics(config)), mimetype="text/plain; version=0.0.4")

    @app.post("/pin")
    def pin() -> AnyResponse:
        try:
            refused = access.open(request.form.get("pin", "").strip())
        except OSError as fault:
            refused = Phrase("tries cannot be counted, so none is made: {reason}", reason=fault.strerror)
        if refused:
            flash(shown(refused), "bad")
        return redirect(url_for("whole") + "#actions", 303)

    @app.post("/leave")
    def leave() -> AnyResponse:
        session.clear()
        return redirect(url_for("whole"), 303)

    @app.post("/actions/<name>")
    def act(name: str) -> AnyResponse:
        access.check_form()
        if name not in ACTIONS:
            abort(404, Phrase("there is no such action"))
        flash(shown(ACTIONS[name](config, request.form.get("of", ""))), "good")
        return redirect(url_for("whole") + "#actions", 303)

    return app


def _harden(answer: Response) -> Response:
    answer.headers.update(
        {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
    )
    return answer


def _fault(fault: Any) -> AnyResponse:
    """An error of ours becomes its words on the page, with what to do."""
    said = shown(sentences(fault.message, fault.hint))
    if request.method != "POST":
        return Response(said, 503)
    flash(said, "bad")
    return redirect(url_for("whole") + "#actions", 303)
