"""What holds for every request and every answer, whoever asks: the form of a target, and the headers browsers obey.

No route lives here. What only stations read stays as short as it is: headers cost them bytes with each answer.
"""

from __future__ import annotations

from flask import Flask, Response, request

from aquasmart_cloud.core.problems import Refusal

STATIONS = "/v1/"
PAGES = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
PROGRAMS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
HTTPS_ONLY = {"Strict-Transport-Security": "max-age=31536000"}
"""Where somebody came by HTTPS, their browser comes by nothing else for a year."""


def install(app: Flask) -> None:
    """Before any blueprint, and around all of them."""
    app.before_request(refuse_other_targets)
    app.after_request(protect)


def refuse_other_targets() -> None:
    """Only a path, as RFC 9112 calls it origin-form. Errors: Refusal for `http://other/…`, `*`, `host:port`.

    An address within the line and one in Host could differ, and then proxies and we would not mean the same.
    """
    target = request.environ.get("RAW_URI")
    if isinstance(target, str) and not target.startswith("/"):
        raise Refusal("http", "send the path only, and the host in the header Host")


def protect(answer: Response) -> Response:
    """The headers that browsers obey, on whatever a browser may show."""
    if request.path.startswith(STATIONS):
        return answer
    for name, value in (PROGRAMS if request.path.startswith("/api/") else PAGES).items():
        answer.headers.setdefault(name, value)
    if request.is_secure or request.headers.get("X-Forwarded-Proto") == "https":
        answer.headers.update(HTTPS_ONLY)
    return answer
