"""Who is told of alerts by e-mail, and where webhooks may lead: the operator's settings, read and judged.

Part of `config`, which calls it; no connection is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .core.alert_kinds import KINDS
from .outgoing.addresses import Network, read_networks
from .outgoing.mailing import NONE, STARTTLS, TLS, MailServer

_DAY_MS = 86_400_000
_GIVE_UP_DAYS = 3
_SECURITY = {"smtp": (STARTTLS, 587), "smtps": (TLS, 465), "smtp+plain": (NONE, 25)}
ReadSecret = Callable[[Path, list[str]], str]


@dataclass(frozen=True, slots=True)
class Telling:
    """What was judged usable. Without a mail server there are no recipients."""

    webhook_allow: tuple[Network, ...] = ()
    mail: MailServer | None = None
    recipients: tuple[str, ...] = ()
    mail_kinds: frozenset[str] = frozenset()
    """Of which alerts people are told by e-mail; empty for all."""
    give_up_ms: int = _GIVE_UP_DAYS * _DAY_MS
    """How long a delivery is tried before it has failed."""


def read_telling(env: Mapping[str, str], faults: list[str], read_secret: ReadSecret) -> Telling:
    """The settings; what is wrong with them is appended to `faults`."""
    mail = _mail(env, faults, read_secret)
    recipients = _recipients(env.get("AQUASMART_MAIL_TO", ""), faults)
    if recipients and mail is None and not any("AQUASMART_SMTP" in each for each in faults):
        faults.append("AQUASMART_MAIL_TO names recipients, AQUASMART_SMTP_URL no server: smtp://USER@HOST")
    return Telling(
        _networks(env.get("AQUASMART_WEBHOOK_ALLOW", ""), faults),
        mail,
        recipients,
        _kinds(env.get("AQUASMART_MAIL_KINDS", ""), faults),
        _days(env.get("AQUASMART_DELIVERY_DAYS", ""), faults),
    )


def _networks(text: str, faults: list[str]) -> tuple[Network, ...]:
    try:
        return read_networks(text)
    except ValueError as fault:
        faults.append(f"AQUASMART_WEBHOOK_ALLOW must be networks such as 10.1.0.0/16,fd00::/8: {fault}")
        return ()


def _mail(env: Mapping[str, str], faults: list[str], read_secret: ReadSecret) -> MailServer | None:
    url, sender = env.get("AQUASMART_SMTP_URL", ""), env.get("AQUASMART_MAIL_FROM", "")
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        parts, port, host = urlsplit(""), None, ""
    if parts.scheme not in _SECURITY or not host or parts.password is not None or parts.path not in ("", "/"):
        faults.append(
            "AQUASMART_SMTP_URL must be smtp://USER@HOST:587 (STARTTLS), smtps://USER@HOST:465, or smtp+plain://127.0.0.1"
            " for a server on this machine; the password is in AQUASMART_SMTP_PASSWORD_FILE"
        )
        return None
    security, usual = _SECURITY[parts.scheme]
    if security == NONE and not _loopback(host):
        faults.append("AQUASMART_SMTP_URL: smtp+plain is for a server on this machine only; use smtp or smtps")
    if not _address(sender):
        faults.append("AQUASMART_MAIL_FROM must be an address such as alerts@example.org")
    user, file = unquote(parts.username or ""), env.get("AQUASMART_SMTP_PASSWORD_FILE", "")
    if user and not file:
        faults.append(
            "AQUASMART_SMTP_URL names a user: AQUASMART_SMTP_PASSWORD_FILE must name the file of its password"
        )
    password = read_secret(Path(file), faults) if user and file else ""
    ca_file = env.get("AQUASMART_SMTP_CA_FILE", "")
    if ca_file and not Path(ca_file).is_file():
        faults.append(f"AQUASMART_SMTP_CA_FILE names {ca_file}, which is no file")
    return MailServer(host, port or usual, security, sender, user, password, ca_file)


def _recipients(text: str, faults: list[str]) -> tuple[str, ...]:
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    wrong = [each for each in found if not _address(each)]
    if wrong:
        faults.append(f"AQUASMART_MAIL_TO must be addresses with commas between them, not {', '.join(wrong)}")
    return found


def _kinds(text: str, faults: list[str]) -> frozenset[str]:
    found = frozenset(each.strip() for each in text.split(",") if each.strip())
    if unknown := sorted(found - KINDS.keys()):
        faults.append(f"AQUASMART_MAIL_KINDS: no such kinds {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return found


def _days(text: str, faults: list[str]) -> int:
    if not text:
        return _GIVE_UP_DAYS * _DAY_MS
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 90):
        faults.append(f"AQUASMART_DELIVERY_DAYS must be a number of days from 1 to 90, not {text!r}")
        return _DAY_MS
    return int(text) * _DAY_MS


def _address(text: str) -> bool:
    """Whether it is a bare address: nothing that could add a header or a second recipient."""
    local, at, domain = text.rpartition("@")
    plain = text.isascii() and text.isprintable() and not set(text) & set(' ",;<>()\\:')
    return bool(local and at and domain) and plain and parseaddr(text)[1] == text


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
