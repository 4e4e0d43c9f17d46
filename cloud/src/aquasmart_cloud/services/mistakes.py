"""Our own normaliser's exceptions, into the log: the event is kept and read again later; why it failed is found here.

By trace id and failed event, not by content: what an event says stays out of the log (its message is cut, since
Python quotes values in it).
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable

from aquasmart_cloud.core.normalising.incoming import Incoming

_LONGEST_MESSAGE = 120

log = logging.getLogger("aquasmart.cloud")


def report(judged: Iterable[Incoming], trace_id: str) -> None:
    """Log what the normaliser raised on these events, if anything."""
    for came in judged:
        mistake = came.mistake
        if mistake is None:
            continue
        log.error(
            "normaliser version %d failed on event %s: %s: %.*s trace=%s\n%s",
            came.version,
            came.raw_hash.hex()[:16],
            type(mistake).__name__,
            _LONGEST_MESSAGE,
            mistake,
            trace_id,
            "".join(traceback.format_tb(mistake.__traceback__)).rstrip(),
        )
