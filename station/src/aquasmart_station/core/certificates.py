"""When a certificate is valid: just enough DER to read that out of a PEM file (RFC 5280 §4.1). Pure.

The station carries no cryptography library, and Python's ssl tells dates only of the other side's certificate.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _VERSION, _UTC_TIME, _GENERAL_TIME = 0x30, 0xA0, 0x17, 0x18


@dataclass(frozen=True, slots=True)
class Validity:
    """From and to, UTC."""

    not_before: datetime
    not_after: datetime


def validities(pem: str) -> list[Validity]:
    """One for each certificate in the text, in its order. Raises ValueError where one cannot be read."""
    return [_validity(match[1]) for match in _PEM.finditer(pem)]


def _validity(text: str) -> Validity:
    try:
        der = base64.b64decode("".join(text.split()), validate=True)
        _, certificate, _ = _element(der, 0)
        _, content, _ = _element(certificate, 0)
        fields = list(_elements(content))
        if fields[0][0] == _VERSION:  # absent in version 1
            del fields[0]
        # serialNumber, signature, issuer, validity
        tag, validity = fields[3]
        first, last = _elements(validity)
        if tag != _SEQUENCE:
            raise ValueError("no validity where it belongs")
        return Validity(_time(*first), _time(*last))
    except (IndexError, binascii.Error) as fault:
        raise ValueError("not a certificate in DER") from fault


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, content, at = _element(data, at)
        yield tag, content


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and the place after it (X.690: definite lengths only)."""
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("a length that DER does not have")
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    if at + length > len(data):
        raise ValueError("cut short")
    return tag, data[at : at + length], at + length


def _time(tag: int, content: bytes) -> datetime:
    """UTCTime has two digits of the year, 50 to 49 (RFC 5280 §4.1.2.5)."""
    text = content.decode("ascii", "replace")
    if tag == _UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text
    elif tag != _GENERAL_TIME:
        raise ValueError("a time of an unknown kind")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
