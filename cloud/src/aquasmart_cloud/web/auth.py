"""Who may see and change what, as long as there are no accounts: whoever holds the admin token.

Sign-in by the token or by a one-time link, sign-out, and `require_person`, which pages and `/api/…` put before
their views. Figures and station requests have no place here. The session is a signed cookie whose secret
comes from the master key and the token: it survives restarts, and a new token ends every session.

A one-time link is used up by opening it (GET), since a person who follows a link expects to be in, and ours is
printed on a terminal rather than posted where previews are made. HEAD and a browser's prefetch use nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, urlsplit

from flask import Blueprint, Flask, Request, Response, current_app, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask.typing import ResponseReturnValue
from itsdangerous import URLSafeTimedSerializer

from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.signing import same
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.keyring import MasterKeys
from aquasmart_cloud.store.sign_in import use_link

from .services import cloud

SESSION_LASTS = timedelta(hours=12)
"""Since the last request: a page left open on a wall stays signed in."""

LINK_GONE = (
    "This link has been used, or is older than 15 minutes. "
    "Print a new one with aquasmart-cloud sign-in-link, or use the token."
)
blueprint = Blueprint("auth", __name__)


@dataclass(frozen=True)
class Door:
    """What sign-in needs, kept with the app."""

    database: Database
    keys: MasterKeys
    admin_token: str


class SessionCookie(SecureCookieSessionInterface):
    """Flask's signed cookie, marked Secure whenever the person came by HTTPS, also through a proxy."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session; without our cookie an empty one, and no signer is made: stations' requests have none."""
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """By the master key of this moment: another one ends every session."""
        door: Door = app.extensions["aquasmart.door"]
        app.secret_key = session_secret(door.keys.for_sealing(), door.admin_token)
        return super().get_signing_serializer(app)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Nothing to say about an empty session that nobody has looked at: stations' requests end here."""
        if session or session.accessed or session.modified:
            super().save_session(app, session, response)

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002 - Flask's signature
        # The header can be forged, but only into a stricter cookie for the forger.
        return request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"


def install(app: Flask, *, database: Database, keys: MasterKeys, admin_token: str) -> None:
    """Give the app its sessions, its sign-in and the headers of its pages. Called once, by the factory."""
    app.session_interface = SessionCookie()
    app.config.update(
        SESSION_COOKIE_NAME="aquasmart",
        SESSION_COOKIE_HTTPONLY=True,
        # Lax, not Strict: whoever follows a link from elsewhere must find the session after the redirect.
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=SESSION_LASTS,
    )
    app.extensions["aquasmart.door"] = Door(database, keys, admin_token)
    app.register_blueprint(blueprint)


def session_secret(master_key: bytes, admin_token: str) -> bytes:
    """The secret that signs sessions: HMAC-SHA256 of the token under the master key, for this purpose only."""
    return hmac.new(master_key, b"aquasmart-session:v1:" + admin_token.encode(), hashlib.sha256).digest()


def require_person() -> ResponseReturnValue | None:
    """Before a view for people: None for a session or the admin token, else the refusal.

    A page answers 303 to the sign-in. For `before_request` of a blueprint.
    Errors: Refusal from `/api/…` (401, or 429 after too many wrong tokens).
    """
    if session.get("person"):
        return None
    if not request.path.startswith("/api/"):
        back = request.full_path.rstrip("?")
        wanted = f"?next={quote(back, safe='')}" if request.method == "GET" and back != "/" else ""
        return redirect(url_for("auth.sign_in") + wanted, 303)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal("unauthorised", "send 'Authorization: Bearer' with the admin token, or sign in")
    wait_s = try_token(token.strip())
    if wait_s is None:
        return None
    if wait_s:
        raise Refusal("rate-limited", f"too many wrong tokens; try again in {wait_s} s", retry_after_s=wait_s)
    raise Refusal("unauthorised", "this is not the admin token")


def try_token(offered: str) -> int | None:
    """None: this is the admin token. Otherwise the seconds to wait before the next try, 0 for none.

    The digests are compared, in constant time, so that not even the token's length shows.
    """
    wait_s = _wait_s()
    if wait_s:
        return wait_s
    if same(_digest(offered), _digest(_door().admin_token)):
        return None
    _count_wrong()
    return 0


@blueprint.get("/sign-in")
def sign_in_page() -> ResponseReturnValue:
    """The form; whoever is signed in already goes on."""
    return redirect(_wanted_page(), 303) if session.get("person") else _form()


@blueprint.post("/sign-in", endpoint="sign_in")
def sign_in() -> ResponseReturnValue:
    """Token from the form → session, else the form again with the reason (401, or 429 with Retry-After)."""
    if _from_elsewhere():
        return _form("The form came from another site. Please sign in here."), 403
    wait_s = try_token(request.form.get("token", "").strip())
    if wait_s is None:
        _begin_session()
        return redirect(_wanted_page(), 303)
    if wait_s:
        return _form(f"Too many wrong tokens. Try again in {wait_s} s."), 429, {"Retry-After": str(wait_s)}
    return _form("This is not the admin token."), 401


@blueprint.get("/sign-in/<token>")
def sign_in_by_link(token: str) -> ResponseReturnValue:
    """Open a one-time link. 410 with the form when it is used up, too old, or never was."""
    if session.get("person"):
        return redirect(url_for("pages.fleet"), 303)
    purpose = request.headers.get("Sec-Purpose", "") + request.headers.get("Purpose", "")
    if request.method == "HEAD" or "prefetch" in purpose:
        return "", 204
    if wait_s := _wait_s():
        return _form(f"Too many wrong tokens. Try again in {wait_s} s."), 429, {"Retry-After": str(wait_s)}
    if not use_link(_door().database, token, int(time.time() * 1000)):
        _count_wrong()
        return _form(LINK_GONE), 410
    _begin_session()
    return redirect(url_for("pages.fleet"), 303)


@blueprint.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End this browser's session."""
    if not _from_elsewhere():
        session.clear()
    return redirect(url_for("auth.sign_in"), 303)


def form_token() -> str:
    """What a form of ours carries back, kept in the session: a page of another site cannot know it."""
    found: str | None = session.get("form")
    if found is None:
        found = session["form"] = secrets.token_hex(16)
    return found


def require_own_form() -> None:
    """Before a form changes anything. Errors: Refusal forbidden for one that is not ours, or older than the session."""
    require_own_token(request.form.get("form", ""))


def require_own_token(offered: str) -> None:
    """The same, where whoever calls has read the form's token by other means. Errors: Refusal."""
    kept = session.get("form", "")
    if _from_elsewhere() or not kept or not same(_digest(offered), _digest(kept)):
        raise Refusal("forbidden", "This form is not from your present session. Open the page again and repeat it.")


def _wait_s() -> int:
    """Seconds until this address may try again; 0: now."""
    return cloud().doorstep.guess_wait_s(request.remote_addr or "", cloud().clock_ms())


def _count_wrong() -> None:
    cloud().doorstep.guessed_wrong(request.remote_addr or "", cloud().clock_ms())


def _door() -> Door:
    door: Door = current_app.extensions["aquasmart.door"]
    return door


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _begin_session() -> None:
    session.clear()
    session["person"] = "admin"
    session.permanent = True


def _form(problem: str = "") -> str:
    return render_template("sign_in.html", problem=problem, wanted=_wanted_page())


def _wanted_page() -> str:
    """Where to go after sign-in: the page asked for, if it is one of ours."""
    wanted = request.values.get("next", "/")
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and "\n" not in wanted
    return wanted if ours else "/"


def _from_elsewhere() -> bool:
    """Whether a browser says that this form was sent by another site (SameSite is the other half)."""
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        return fetch_site not in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.host
