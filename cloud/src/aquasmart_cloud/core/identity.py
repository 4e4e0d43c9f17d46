"""What makes two foreign events the same one: SHA-256 over what they say, not over how it is written.

Pure. Four kinds of identity, never mixed (the kind is hashed too), all scoped to one sender by the store:

- `raw`: the JSON value as received. The very same body again always finds its first result, whatever rules or
  mapping have been changed since.
- `id`: the id that the sender gave.
- `content`: the normalised content of an event without an id. Texts trimmed and case-folded, the amount as an
  exact number, the time as an instant: `1,200` = `1200.0` = `$1200`.
- `id with content`: tells a repetition under an id (the same content) from a conflict (another).
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any

import msgspec

from .normalising.amounts import amount_text
from .normalising.event import Normalised
from .normalising.reading import canonical


def raw_identity(event: Any) -> bytes:
    """Of a JSON value as received; key order does not matter."""
    return hashlib.sha256(b"raw:1\0" + canonical(event)).digest()


def id_identity(given_id: str) -> bytes:
    """Of the sender's own id. Ids are exact: case matters."""
    return _hash("id:1", given_id)


def content_identity(event: Normalised) -> bytes:
    """Of what the event says, with the sender's id where it has one."""
    return _hash(
        "content:1",
        event.given_id,
        folded(event.source),
        folded(event.metric),
        amount_text(event.amount),
        str(event.at_ns),
        None if event.station is None else folded(event.station),
    )


def folded(text: str) -> str:
    """A text as it is compared: trimmed, case-folded, in one Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.strip()).casefold())


def _hash(kind: str, *parts: str | None) -> bytes:
    # A JSON list separates its parts unambiguously: ["ab", "c"] is not ["a", "bc"], null is not "".
    return hashlib.sha256(kind.encode() + b"\0" + msgspec.json.encode(parts)).digest()
