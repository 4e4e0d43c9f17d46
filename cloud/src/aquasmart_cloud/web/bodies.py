"""Bodies of requests, read within a limit. Nothing here knows what is in them."""

from __future__ import annotations

from flask import request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from aquasmart_cloud.core.problems import Refusal


def read_body(most_bytes: int) -> bytes:
    """The raw body: 413 for a declared size above the limit, before anything else is judged or read.

    A chunked body declares none; it is cut off at the limit without a word, so one byte more is asked for.
    """
    request.max_content_length = most_bytes
    try:
        body = request.get_data(cache=False)
        more = request.content_length is None and len(body) >= most_bytes and request.environ["wsgi.input"].read(1)
    except ClientDisconnected as gone:
        if isinstance(gone.__context__, TimeoutError):
            raise Refusal("http", "the body did not come in time; send less at once", status=408) from gone
        raise
    except HTTPException:
        raise
    except Exception as fault:
        # A server raises what it likes for chunks that are none; whoever sent them is at fault, not this application.
        raise Refusal("malformed", "the body cannot be read") from fault
    if more:
        raise Refusal("too-large", f"the body is above {most_bytes} bytes")
    return body
