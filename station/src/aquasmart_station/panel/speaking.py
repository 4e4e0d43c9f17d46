"""The language of who looks at the page: what their browser asks for, else what the configuration says.

Decided for each request, so that two phones at once may each have their own. The JSON of `/api/state` and `/metrics`
are for programs and stay English.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, g, request
from flask.wrappers import Response
from werkzeug.exceptions import HTTPException

from ..adapters.languages import catalogue, first_known
from ..core.phrases import Phrase, counted, translated


def teach(app: Flask, default: str) -> None:
    """Give the application's pages their words: `tr`, `trn`, `language`, and phrases that translate themselves."""

    def choose() -> None:
        # In the order in which the browser wants them; en-GB is as good as en.
        wanted = (each for each, quality in request.accept_languages if quality > 0)
        g.language = first_known(wanted, default)

    # First of all: also a refusal is in the reader's language.
    app.before_request_funcs.setdefault(None, []).insert(0, choose)
    app.after_request(_say_which)
    app.register_error_handler(HTTPException, _refused)
    app.jinja_env.globals.update(tr=tr, trn=trn, language=language)
    app.jinja_env.finalize = shown


def language() -> str:
    """Of the present request."""
    return str(g.language)


def shown(value: Any) -> Any:
    """A phrase from another layer for this reader; anything else as it is."""
    return translated(value, catalogue(language()))


def tr(template: str, /, **values: Any) -> str:
    """A sentence of the page's own, with its values."""
    return str(shown(Phrase(template, **values)))


def trn(one: str, more: str, n: int, /, **values: Any) -> str:
    """One that depends on a number, shown as `{n}`."""
    return str(shown(counted(one, more, n, **values)))


def _say_which(answer: Response) -> Response:
    answer.headers.setdefault("Content-Language", language())
    answer.vary.add("Accept-Language")
    return answer


_PAGE = "<!doctype html>\n<html lang={}>\n<title>{}</title>\n<p>{}</p>\n"
_WRONG: dict[int, Callable[[], str]] = {
    403: lambda: tr("Not allowed"),
    404: lambda: tr("There is no such page"),
}


def _refused(fault: HTTPException) -> Response:
    """A refusal in words: a title by its status, and why."""
    from markupsafe import escape

    code = fault.code or 500
    title = _WRONG.get(code, lambda: tr("This does not work"))()
    why = shown(fault.description) if isinstance(fault.description, Phrase) else title
    body = _PAGE.format(language(), escape(f"{code} {title}"), escape(str(why)))
    answer = Response(body, code, mimetype="text/html")
    for name, value in fault.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer
