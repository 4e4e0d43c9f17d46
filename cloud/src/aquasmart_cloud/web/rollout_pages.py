"""Pages about images' updates: bundles and roll-outs, their progress per station, and the forms that change them.

Views only. They do what `aquasmart-cloud bundle` and `rollout` do, by the same functions, and need no script.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from aquasmart_cloud.core.errors import CloudError, DatabaseError
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.rollouts import DEFAULT_WINDOW, Window
from aquasmart_cloud.services.bundling import Said, Shelf
from aquasmart_cloud.store import bundles, rollout_view, rollouts, zones
from aquasmart_cloud.store.rollouts import RolloutError

from . import pages, rollout_words
from .answers import now_ms
from .auth import form_token, require_own_form, require_own_token, require_person
from .callers import PERSON, occasion
from .patience import PatientSocket
from .services import cloud
from .uploading import Upload

FORM_BYTES = 64 * 1024
UPLOAD_S = 3_600.0
"""A gigabyte over 2.5 Mbit/s."""
_LONGEST_REASON = 300

blueprint = Blueprint("rollout_pages", __name__)
blueprint.before_request(require_person)
blueprint.register_error_handler(Refusal, pages.in_words)


@blueprint.errorhandler(CloudError)
def refused(error: CloudError) -> ResponseReturnValue:
    """What the command line would say in two lines; a broken database is nobody's fault here."""
    if isinstance(error, DatabaseError):
        return pages.database_failed(error)
    return pages.in_words(Refusal("invalid", f"{error}. {error.hint}".strip()))


@blueprint.get("/rollouts")
def listing() -> ResponseReturnValue:
    """Roll-outs, newest first; bundles; the forms for one more of each."""
    return render_template(
        "rollouts.html",
        rollouts=[rollout_words.row(each) for each in rollout_view.listed(cloud().database)],
        bundles=[
            each._asdict() | {"size": rollout_words.mebibytes(each.size_bytes)}
            for each in bundles.listed(cloud().database)
        ],
        window=DEFAULT_WINDOW,
        most=rollout_words.mebibytes(cloud().config.updates.most_bytes),
        form_token=form_token(),
        now_ms=now_ms(),
    )


@blueprint.get("/rollouts/<int:rollout_id>")
def one(rollout_id: int) -> ResponseReturnValue:
    """One roll-out: where each station stands."""
    try:
        found = rollout_view.shown(cloud().database, rollout_id)
    except RolloutError as error:
        raise Refusal("not-found", f"There is no roll-out {rollout_id}.") from error
    return render_template(
        "rollout.html",
        rollout=rollout_words.row(found),
        stations=[rollout_words.station(each) for each in found["stations"]],
        form_token=form_token(),
        now_ms=now_ms(),
    )


@blueprint.post("/bundles")
def add_bundle() -> ResponseReturnValue:
    """A bundle as a form with a file, streamed to the disk; the form's token is looked at before the file is read."""
    upload = Upload(cloud().config.updates.most_bytes + FORM_BYTES)
    upload.begin()
    require_own_token(upload.fields.get("form", ""))
    under = request.environ.get("gunicorn.socket")
    if isinstance(under, PatientSocket):
        under.allow(UPLOAD_S)
    number = upload.fields.get("number", "").strip()
    if number and not (number.isascii() and number.isdecimal() and len(number) < 11):
        raise Refusal("invalid", "The number of a bundle is a whole number from 1.")
    said = Said(upload.fields.get("version", "").strip(), int(number or 0), upload.fields.get("compatible", "").strip())
    shelf().add(upload.pieces(), said, occasion(PERSON))
    return redirect(url_for("rollout_pages.listing"), 303)


@blueprint.post("/bundles/<sha256>/remove")
def remove_bundle(sha256: str) -> ResponseReturnValue:
    """Let a bundle go."""
    require_own_form()
    shelf().remove(sha256, occasion(PERSON))
    return redirect(url_for("rollout_pages.listing"), 303)


@blueprint.post("/rollouts")
def start() -> ResponseReturnValue:
    """Begin a roll-out."""
    require_own_form()
    form, database = request.form, cloud().database
    window = Window.parse(form.get("window", "").strip())
    if window is None:
        raise Refusal("invalid", f"A window is written {DEFAULT_WINDOW}.")
    canaries = form.get("canaries", "").strip()
    if not (canaries.isascii() and canaries.isdecimal() and len(canaries) < 6):
        raise Refusal("invalid", "How many canaries? A whole number, 0 for none.")
    zone = zones.checked(form.get("time_zone", "").strip() or zones.UTC_NAME)
    with database.writing() as connection:
        bundle = bundles.named(connection, form.get("bundle", ""))
        group = form.get("group", "").strip()
        rollout_id = rollouts.start(connection, bundle, group, int(canaries), window, zone, occasion(PERSON))
    return redirect(url_for("rollout_pages.one", rollout_id=rollout_id), 303)


@blueprint.post("/rollouts/<int:rollout_id>/stop")
def stop(rollout_id: int) -> ResponseReturnValue:
    """Stop it by hand."""
    require_own_form()
    reason = request.form.get("reason", "").strip()[:_LONGEST_REASON]
    with cloud().database.writing() as connection:
        rollouts.stop(connection, rollout_id, reason, occasion(PERSON))
    return redirect(url_for("rollout_pages.one", rollout_id=rollout_id), 303)


@blueprint.post("/rollouts/<int:rollout_id>/resume")
def resume(rollout_id: int) -> ResponseReturnValue:
    """Let it go on."""
    require_own_form()
    with cloud().database.writing() as connection:
        rollouts.resume(connection, rollout_id, occasion(PERSON))
    return redirect(url_for("rollout_pages.one", rollout_id=rollout_id), 303)


def shelf() -> Shelf:
    """Where bundles lie."""
    updates = cloud().config.updates
    return Shelf(cloud().database, updates.folder, updates.most_bytes, updates.keyring)
