"""The page of one named difference: what it is, since when, and the form by which somebody says why it is there.

Views only. They do what `/api/stations/{id}/ledger` does, by the same services, and need no script in the browser.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from aquasmart_cloud.core.errors import CloudError
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.services import explaining
from aquasmart_cloud.services.explaining import LONGEST_NOTE, LedgerError
from aquasmart_cloud.store.ledger_view import EXPLAINED, OPEN, Entry

from . import documents, pages
from .answers import now_ms
from .auth import form_token, require_own_form, require_person
from .callers import PERSON
from .ledger_api import refusal_of
from .services import cloud

blueprint = Blueprint("ledger_pages", __name__)
blueprint.before_request(require_person)
blueprint.register_error_handler(Refusal, pages.in_words)
blueprint.register_error_handler(CloudError, pages.database_failed)


@blueprint.get("/stations/<station_id>/differences/<int:entry_id>")
def one(station_id: str, entry_id: int) -> ResponseReturnValue:
    """One difference with all that is known of it."""
    return _shown(station_id, _load(station_id, entry_id))


@blueprint.post("/stations/<station_id>/differences/<int:entry_id>/explain")
def explain(station_id: str, entry_id: int) -> ResponseReturnValue:
    """Keep the form's words as the explanation."""
    require_own_form()
    note = request.form.get("note", "")
    try:
        explaining.explain(cloud().database, station_id, entry_id, PERSON, note, now_ms())
    except LedgerError as error:
        said = ". ".join(filter(None, (str(error), error.hint)))
        return _shown(station_id, _load(station_id, entry_id), note=note, said=f"{said}."), 422
    return redirect(url_for("pages.station", station_id=station_id), 303)


@blueprint.post("/stations/<station_id>/differences/<int:entry_id>/reopen")
def reopen(station_id: str, entry_id: int) -> ResponseReturnValue:
    """The explanation was wrong."""
    require_own_form()
    try:
        explaining.reopen(cloud().database, station_id, entry_id)
    except LedgerError as error:
        raise refusal_of(error) from error
    return redirect(url_for("ledger_pages.one", station_id=station_id, entry_id=entry_id), 303)


def _load(station_id: str, entry_id: int) -> Entry:
    try:
        return explaining.show(cloud().database, station_id, entry_id)
    except LedgerError as error:
        raise refusal_of(error) from error


def _shown(station_id: str, entry: Entry, *, note: str = "", said: str = "") -> str:
    """The page; `note` is what the person has written, `said` what is wrong with it."""
    return render_template(
        "difference.html",
        station_id=station_id,
        difference=documents.difference(entry.document(), station_id),
        open=entry.state == OPEN,
        explained=entry.state == EXPLAINED,
        note=note,
        longest=LONGEST_NOTE,
        said=said,
        form_token=form_token(),
        now_ms=now_ms(),
    )
