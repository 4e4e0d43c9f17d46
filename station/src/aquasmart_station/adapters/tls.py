"""TLS towards the cloud: which version, whom to trust, who we are; and what a failed handshake means, in words.

Verification is never switched off (docs/protocol.md §8). The context is our own and not the library's default one,
which would write session keys to a file that the environment names.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..core.phrases import Phrase


@dataclass(frozen=True, slots=True)
class TlsSettings:
    ca_file: Path | None = None
    """A private CA to trust, and no other."""
    tls_1_2: bool = False
    """TLS 1.2 is accepted too, for networks whose middle boxes break 1.3."""
    certificate_file: Path | None = None
    """The client certificate, PEM, with its chain if it has one; None: the cloud does not ask for one."""
    key_file: Path | None = None
    """Its key, PEM; None: it stands in the certificate's file."""

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.ca_file, self.certificate_file, self.key_file) if path is not None)


Stamp = tuple[tuple[int, int] | None, ...]


def stamp_of(settings: TlsSettings) -> Stamp:
    """What tells whether a file was renewed: its inode and time of change, None where it is missing."""
    return tuple(_stat(path) for path in settings.files)


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def context_for(settings: TlsSettings) -> ssl.SSLContext:
    """The context that all couriers share: the system's hundred and more authorities are loaded once.

    Raises UnusableFile where a file cannot be read or is not what it should be.
    """
    return _context(settings, stamp_of(settings))


@functools.lru_cache(maxsize=1)
def _context(settings: TlsSettings, _stamp: Stamp) -> ssl.SSLContext:
    # PROTOCOL_TLS_CLIENT demands a certificate that verifies and bears the host's name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if settings.tls_1_2 else ssl.TLSVersion.TLSv1_3
    if settings.ca_file is not None:
        _load(settings.ca_file, lambda: context.load_verify_locations(cafile=settings.ca_file))
    else:
        context.load_default_certs()
    if settings.certificate_file is not None:
        certificate, key = settings.certificate_file, settings.key_file
        # An encrypted key would make OpenSSL ask on a terminal that a service does not have.
        _load(certificate, lambda: context.load_cert_chain(certificate, key, password=_no_passphrase))
    return context


def _no_passphrase() -> str:
    raise ValueError("its key is encrypted; a service cannot be asked for a passphrase")


class UnusableFile(ValueError):
    """A CA or certificate file that is not what it should be; the message names it."""


def _load(path: Path, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as fault:
        raise UnusableFile(
            Phrase(
                "{path} cannot be used: it does not hold what it should, in PEM ({reason})",
                path=path,
                reason=fault.reason,
            )
        ) from None
    except (OSError, ValueError) as fault:
        raise UnusableFile(
            Phrase("{path} cannot be used: {why}", path=path, why=getattr(fault, "strerror", None) or fault)
        ) from None


_VERIFY_WORDS = {
    9: "the cloud's certificate is not valid yet: is this station's clock right?",
    10: "the cloud's certificate has expired, or this station's clock is wrong",
    18: "the cloud's certificate is self-signed: a portal, or cloud.ca_file is missing",
    19: "the cloud's certificate is of an authority this station does not trust: a portal, or cloud.ca_file is missing",
    20: "the cloud's certificate is of an authority this station does not trust: a portal, or the wrong cloud.ca_file",
    21: "the cloud's certificate is of an authority this station does not trust: a portal, or the wrong cloud.ca_file",
    23: "the cloud's certificate has been revoked",
    62: "the certificate that was shown is another host's: a portal, or the wrong cloud.url",
    64: "the certificate that was shown is another host's: a portal, or the wrong cloud.url",
}
"""By OpenSSL's X509_V_ERR codes (x509_vfy.h)."""

_ALERT_WORDS = (
    ("CERTIFICATE_REQUIRED", Phrase("the cloud asks for a client certificate (cloud.client_certificate_file)")),
    ("ALERT_CERTIFICATE_EXPIRED", Phrase("the cloud refuses this station's client certificate: it has expired")),
    ("ALERT_CERTIFICATE_REVOKED", Phrase("the cloud refuses this station's client certificate: it has been revoked")),
    ("ALERT_UNKNOWN_CA", Phrase("the cloud refuses this station's client certificate: it does not know who issued it")),
    ("ALERT_BAD_CERTIFICATE", Phrase("the cloud refuses this station's client certificate")),
    (
        "ALERT_PROTOCOL_VERSION",
        Phrase("the cloud, or a box on the way, speaks TLS 1.2 at most (cloud.tls_1_2 allows it)"),
    ),
    (
        "UNSUPPORTED_PROTOCOL",
        Phrase("the cloud, or a box on the way, speaks TLS 1.2 at most (cloud.tls_1_2 allows it)"),
    ),
    ("WRONG_VERSION_NUMBER", Phrase("what answers at the cloud's address does not speak TLS")),
    ("UNEXPECTED_EOF", Phrase("the connection broke off during TLS")),
    ("EOF OCCURRED", Phrase("the connection broke off during TLS")),
)


def tls_words(fault: BaseException) -> str | None:
    """What is wrong with TLS, in words; None where it is something else."""
    inner = _ssl_error(fault)
    if inner is None:
        return None
    if isinstance(inner, ssl.SSLCertVerificationError):
        told = _VERIFY_WORDS.get(inner.verify_code)
        return told or Phrase("the cloud's certificate does not verify: {why}", why=inner.verify_message)
    said = f"{inner.reason or ''} {inner}".upper()
    for sign, words in _ALERT_WORDS:
        if sign in said:
            return words
    return Phrase("TLS failed: {why}", why=str(inner.reason or inner)[:188])


def _ssl_error(fault: BaseException) -> ssl.SSLError | None:
    """The ssl module's own error, in whatever urllib3 has wrapped it."""
    seen: set[int] = set()
    waiting: list[object] = [fault]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        if isinstance(one, ssl.SSLError):
            return one
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return None
