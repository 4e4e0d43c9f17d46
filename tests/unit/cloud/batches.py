"""Decoded batches for the unit tests of the cloud's core, made through the real decoder."""

from __future__ import annotations

import json
from typing import Any

from aquasmart_cloud.core.decoding import decode_batch
from aquasmart_cloud.core.model import Batch
from tests.contract.messages import batch as document


def make(counts: list[int], **changes: Any) -> Batch:
    """A batch of the contract's stream."""
    return decode_batch(json.dumps(document(counts, **changes)).encode())
