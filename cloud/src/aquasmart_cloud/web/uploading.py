"""A form with a file, read as it comes: its fields in memory, the file piece by piece to whoever wants it.

Flask's own reading would gather the file in a temporary one first, a gigabyte of it, before anybody has looked at the
form's token. Here fields must stand before the file, as they do in our form. What the fields mean is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator

from flask import request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from aquasmart_cloud.core.problems import Refusal

PIECE_BYTES = 256 * 1024
MOST_FIELD_BYTES = 4_096
MOST_FIELDS = 20
LONGEST_BOUNDARY = 200
"""RFC 2046 allows 70 characters; some programs draw longer ones, now and then."""
BROKE_OFF = "The form broke off. Nothing of it was kept; send it again."


class Upload:
    """One request's form. `begin` reads up to the file, `pieces` the file. Used once."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: of the whole request; its form around the file is some hundred bytes."""
        boundary = request.mimetype_params.get("boundary", "")
        if request.mimetype != "multipart/form-data" or not 1 <= len(boundary) <= LONGEST_BOUNDARY:
            raise Refusal("http", "A form with a file is wanted here.", status=415)
        request.max_content_length = most_bytes
        self._decoder = MultipartDecoder(boundary.encode(), max_form_memory_size=None, max_parts=MOST_FIELDS)
        self._events = self._decoded()
        self.fields: dict[str, str] = {}
        self.file_name = ""

    def begin(self) -> None:
        """Read the fields, and the file's head. Errors: Refusal where there is none, or the form is damaged."""
        name, text = "", b""
        for event in self._events:
            if isinstance(event, File):
                self.file_name = event.filename
                return
            if isinstance(event, Field):
                name, text = event.name, b""
            elif isinstance(event, Data):
                text += event.data
                if len(text) > MOST_FIELD_BYTES:
                    raise Refusal("too-large", "A field of this form is too long.")
                if not event.more_data:
                    self.fields[name] = text.decode("utf-8", "replace")
        raise Refusal("malformed", "There is no file in this form. Choose one and send it again.")

    def pieces(self) -> Iterator[bytes]:
        """The file. Errors: Refusal for a form that breaks off: a file that was cut must never look whole."""
        for event in self._events:
            if not isinstance(event, Data):
                break
            if event.data:
                yield bytes(event.data)
            if not event.more_data:
                return
        raise Refusal("malformed", BROKE_OFF)

    def _decoded(self) -> Iterator[Field | File | Data]:
        ended = False
        while True:
            try:
                event = self._decoder.next_event()
            except ValueError as fault:
                raise Refusal("malformed", BROKE_OFF if ended else "The form cannot be read.") from fault
            if isinstance(event, NeedData):
                if ended:
                    raise Refusal("malformed", BROKE_OFF)
                piece = self._read()
                ended = not piece
                self._feed(piece)
            elif isinstance(event, Epilogue):
                return
            elif isinstance(event, Field | File | Data):
                yield event

    def _feed(self, piece: bytes) -> None:
        try:
            self._decoder.receive_data(piece or None)
        except ValueError as fault:
            raise Refusal("malformed", BROKE_OFF) from fault

    def _read(self) -> bytes:
        try:
            return request.stream.read(PIECE_BYTES)
        except ClientDisconnected as gone:
            raise Refusal("http", "The file did not come in time.", status=408) from gone
