"""Pages about foreign events that failed: the list, one with its original beside the errors, corrected or dismissed;
and the form that sends one for trial.

Views only. They do what `/api/failed-events` does, by the same services, and need no script in the browser; the form
for trials uses the real `POST /api/events`, with the header for faults where those are allowed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from aquasmart_cloud.core.errors import CloudError
from aquasmart_cloud.core.fault_names import FAULTS
from aquasmart_cloud.core.normalising.reading import read_json
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.services.reprocessing import Reprocessing
from aquasmart_cloud.store import failures, foreign_queries, intake, intake_log
from aquasmart_cloud.store.failures import STATES, Failed
from aquasmart_cloud.store.foreign_queries import SENDER_ID

from . import failed_words, pages
from .answers import now_ms
from .auth import form_token, require_own_form, require_person
from .callers import PERSON, clients, occasion
from .failed_api import LONGEST_REASON
from .failed_documents import place_of
from .services import cloud

PAGE_ROWS = 50
LONGEST_EVENT = 256 * 1024
_DAY_MS = 86_400_000

blueprint = Blueprint("failed_pages", __name__)
blueprint.before_request(require_person)
blueprint.register_error_handler(Refusal, pages.in_words)
blueprint.register_error_handler(CloudError, pages.database_failed)


@blueprint.get("/failed-events")
def listing() -> ResponseReturnValue:
    """A page of failures, oldest first, by state, sender and day of arrival."""
    state, sender = request.args.get("state", failures.OPEN), request.args.get("client", "")
    if state not in (*STATES, "all") or (sender and not SENDER_ID.fullmatch(sender)):
        raise Refusal("invalid", "There is no such filter. The list of failed events shows those that there are.")
    span_ms = (_day_ms("from", 0), _day_ms("to", (1 << 62) - _DAY_MS) + _DAY_MS)
    found = _page(sender, span_ms, "" if state == "all" else state)
    counts = failures.counts(cloud().database)
    senders = sorted({*counts, *foreign_queries.senders(cloud().database)})
    chosen = {name: value for name in ("client", "from", "to") if (value := request.args.get(name))}
    following = {**chosen, "state": state, "after": found[-1].failed_id} if len(found) == PAGE_ROWS else None
    return render_template(
        "failed_events.html",
        rows=[failed_words.row(each) for each in found],
        states=_state_filters(counts, sender),
        state=state,
        senders=senders,
        chosen=chosen,
        following=following,
        now_ms=now_ms(),
    )


@blueprint.get("/failed-events/<failed_id>")
def one(failed_id: str) -> ResponseReturnValue:
    """One failure with all that is known of it."""
    return _shown(_load(failed_id))


@blueprint.post("/failed-events/<failed_id>/reprocess")
def reprocess(failed_id: str) -> ResponseReturnValue:
    """Try it again with the text of the form; what is wrong with that text is said beside it, and the text kept."""
    require_own_form()
    failure, text = _load(failed_id), request.form.get("event", "")
    if len(text) > LONGEST_EVENT:
        raise Refusal("too-large", f"An event has at most {LONGEST_EVENT} characters.")
    try:
        edited = read_json(text.encode())
    except Refusal as refusal:
        return _shown(failure, text=text, said=f"This is not JSON: {refusal.detail}"), 422
    if not isinstance(edited, dict):
        return _shown(failure, text=text, said="An event is one JSON object."), 422
    result = Reprocessing(cloud().database, clients()).one(place_of(failed_id, None), occasion(PERSON), edited)
    if result.status == intake.FAILED:
        return _shown(_load(failed_id), text=text, said="It was tried again and failed again, as said here."), 422
    return redirect(url_for("failed_pages.one", failed_id=failed_id), 303)


@blueprint.post("/failed-events/<failed_id>/dismiss")
def dismiss(failed_id: str) -> ResponseReturnValue:
    """Close it without an event, with a reason."""
    require_own_form()
    reason = request.form.get("reason", "").strip()
    if not 1 <= len(reason) <= LONGEST_REASON or "\0" in reason:
        said = f"A reason of 1 to {LONGEST_REASON} characters is wanted: it is all that will be known later."
        return _shown(_load(failed_id), said=said), 422
    intake.dismiss(cloud().database, place_of(failed_id, None), reason, occasion(PERSON))
    return redirect(url_for("failed_pages.one", failed_id=failed_id), 303)


@blueprint.get("/try-event")
def try_event() -> ResponseReturnValue:
    """The form that sends an event for a client, with a fault if they are allowed."""
    active = [each for each in clients().all() if each.state == "active"]
    faults = FAULTS if cloud().config.faults else ()
    return render_template("try_event.html", clients=active, faults=faults, now_ms=now_ms())


def _load(failed_id: str) -> Failed:
    found = failures.show(cloud().database, place_of(failed_id, None))
    if found is None:
        raise Refusal("not-found", f"There is no failed event {failed_id[:100]}.")
    return found


def _shown(failure: Failed, *, text: str | None = None, said: str = "") -> str:
    """The page of one failure; `text` is what the person has written, `said` what is wrong with it."""
    trail = intake_log.about(cloud().database, failure.client_id, failure.failed_id, failure.received_at)
    return render_template(
        "failed_event.html",
        failure=failed_words.one(failure),
        trail=[failed_words.step(each) for each in trail],
        text=failed_words.pretty(failure.edited or failure.raw) if text is None else text,
        said=said,
        form_token=form_token(),
        now_ms=now_ms(),
    )


def _page(sender: str, span_ms: tuple[int, int], state: str) -> list[Failed]:
    """The page that the query's cursor asks for. Errors: Refusal."""
    cursor = request.args.get("after")
    after = ("", 0) if cursor is None else failures.parse_failed_id(cursor)
    if after is None:
        raise Refusal("invalid", "There is no such page.")
    return failures.pages(cloud().database, sender, after, span_ms, state, PAGE_ROWS)


def _state_filters(counts: dict[str, dict[str, int]], sender: str) -> list[dict[str, Any]]:
    """The states to choose from, each with how many there are."""
    own = [found for client_id, found in counts.items() if sender in ("", client_id)]
    numbers = {state: sum(each.get(state, 0) for each in own) for state in STATES}
    numbers["all"] = sum(numbers.values())
    return [{"name": name, "label": failed_words.STATES[name], "count": number} for name, number in numbers.items()]


def _day_ms(name: str, default: int) -> int:
    """A day (UTC) of the query as the Unix ms of its beginning."""
    text = request.args.get(name)
    if not text:
        return default
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError as error:
        raise Refusal("invalid", f"{text[:20]!r} is no day; days are written 2026-11-28.") from error
