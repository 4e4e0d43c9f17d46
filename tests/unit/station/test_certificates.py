"""Dates out of real certificates, beside the cryptography library's own reading; and out of anything else, none."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.certificates import Validity, validities

KEY = ed25519.Ed25519PrivateKey.generate()
TIMES = st.datetimes(dt.datetime(1951, 1, 1), dt.datetime(2300, 1, 1)).map(lambda t: t.replace(microsecond=0))  # noqa: DTZ001


def made(not_before: dt.datetime, not_after: dt.datetime, name: str = "x") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(KEY.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(not_before).not_valid_after(not_after)
    return builder.sign(KEY, None).public_bytes(serialization.Encoding.PEM).decode()


@given(TIMES, TIMES, st.text("ab", min_size=1, max_size=60))
def test_the_dates_are_those_that_were_put_in(one: dt.datetime, other: dt.datetime, name: str) -> None:
    """Two-digit years until 2049, four digits from 2050 on; names of any length around them."""
    first, last = sorted((one, other))
    text = made(first, last, name)
    assert validities(f"words before\n{text}\nwords between\n{text}") == 2 * [
        Validity(first.replace(tzinfo=dt.UTC), last.replace(tzinfo=dt.UTC))
    ]
    assert x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc == last.replace(tzinfo=dt.UTC)


PLAIN = made(dt.datetime(2026, 1, 1), dt.datetime(2027, 1, 1))  # noqa: DTZ001


def test_a_file_without_certificates_has_no_dates() -> None:
    assert validities("-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n") == []


@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_refused_and_never_more_than_that(data: bytes) -> None:
    text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(data).decode()}\n-----END CERTIFICATE-----\n"
    with pytest.raises(ValueError):  # noqa: PT011 - its words are for people
        validities(text)


@given(st.integers(0, 150), st.integers(0, 255), st.integers(0, 150))
def test_a_certificate_that_was_cut_or_changed_gives_dates_or_an_error(place: int, byte: int, cut: int) -> None:
    der = bytearray(base64.b64decode("".join(PLAIN.splitlines()[1:-1])))
    der[place] = byte
    changed = bytes(der[: len(der) - cut])
    body = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(changed).decode()}\n-----END CERTIFICATE-----\n"
    with contextlib.suppress(ValueError):
        assert all(isinstance(found, Validity) for found in validities(body))
