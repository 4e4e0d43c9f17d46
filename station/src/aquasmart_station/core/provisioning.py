"""The provisioning file: what a laptop writes on the boot partition, checked whole, and what follows from it.

Pure: TOML text in, a `Plan` or every fault at once out. Which files a plan becomes, and in what order, is
services/provisioning.py's. A secret that reads `****` is one that was moved before: what the station has stays.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .errors import StationError
from .network_profiles import Connection, connections
from .phrases import Phrase, counted, joined
from .technician_access import Access, access

WIPED = "*"
SECRETS = ("key", "password", "pin")
"""Names of what is moved off the boot partition, in whichever table they stand."""
PASSED_ON = ("reader", "detect", "log", "sync", "meters")
"""Tables that station.toml gets as they are."""
_KEY = re.compile(r"[0-9a-f]{64}")
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TABLES = {"station_id", "cloud", "network", "access", *PASSED_ON}
_CLOUD = {"url", "key_id", "key", "ca", "tls_1_2", "connect_timeout_s", "read_timeout_s", "proxy"}
_PROXY = {"url", "user", "password"}
_SECRET_LINE = re.compile(
    rb"""^(?P<head>[ \t]*(?:%s)[ \t]*=[ \t]*)(?:"(?P<double>[^"\\\r\n]+)"|'(?P<single>[^'\r\n]+)')"""
    % "|".join(SECRETS).encode(),
    re.MULTILINE,
)


class BadProvision(StationError):
    """A provisioning file that cannot be used. `faults` names every fault at once."""

    def __init__(self, name: str, faults: list[str]) -> None:
        self.faults = faults
        said = counted(
            "{path}: {n} fault in the provisioning file",
            "{path}: {n} faults in the provisioning file",
            len(faults),
            path=name,
        )
        super().__init__(
            joined("\n  - ", [said, *faults]),
            hint=Phrase("Nothing was changed. Correct the file on the boot partition and try again."),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a provisioning file asks for. No secret shows in its repr."""

    station_id: str
    key_id: str
    key: str | None = field(repr=False)
    """None: the key was moved before, and stays."""
    settings: Mapping[str, Any]
    """Tables of station.toml, `cloud` without what becomes files."""
    ca: str | None
    proxy_credentials: str | None = field(repr=False)
    """`user:password`; empty: the password was moved before."""
    networks: tuple[Connection, ...] | None
    """None: the file says nothing of the network, what is there stays."""
    access: Access = field(default_factory=Access)


def read_plan(name: str, data: bytes) -> Plan:
    """The plan in a file's bytes. Raises BadProvision with every fault."""
    document = _document(name, data)
    faults: list[str] = [
        Phrase("{key}: is no setting of a provisioning file", key=key) for key in sorted(document.keys() - _TABLES)
    ]
    cloud = _table(document, "cloud", faults)
    proxy = _table(cloud, "proxy", faults, within="cloud.")
    faults += [
        Phrase("cloud.{key}: is no setting of a provisioning file", key=key) for key in sorted(cloud.keys() - _CLOUD)
    ]
    faults += [Phrase("cloud.proxy.{key}: is no setting of a proxy", key=key) for key in sorted(proxy.keys() - _PROXY)]
    networks = (
        connections(document["network"], str(document.get("station_id")), faults) if "network" in document else None
    )
    plan = Plan(
        station_id=str(document.get("station_id", "")),
        key_id=_key_id(cloud, faults),
        key=_key(cloud, faults),
        settings=_settings(document, cloud, proxy),
        ca=_ca(cloud, faults),
        proxy_credentials=_credentials(proxy, faults),
        networks=networks,
        access=access(document.get("access", {}), faults),
    )
    faults += _unreachable_secrets(document, data)
    if faults:
        raise BadProvision(name, sorted(faults))
    return plan


def wipe_ranges(data: bytes) -> list[tuple[int, int]]:
    """Where secrets stand in a file's bytes: offset and length. Also where one is repeated, in a comment say."""
    found = {span: data[slice(*span)] for span in _spans(data)}
    for secret in {value for value in found.values() if len(value) >= 8}:
        at = data.find(secret)
        while at >= 0:
            found[at, at + len(secret)] = secret
            at = data.find(secret, at + 1)
    return [(begin, end - begin) for begin, end in sorted(found) if data[begin:end].strip(WIPED.encode())]


def wiped(data: bytes, ranges: list[tuple[int, int]]) -> bytes:
    """The same with every secret's bytes replaced, at the same length: it can be written in place."""
    found = bytearray(data)
    for offset, length in ranges:
        found[offset : offset + length] = WIPED.encode() * length
    return bytes(found)


def is_wiped(value: object) -> bool:
    """Whether a secret was moved before."""
    return isinstance(value, str) and bool(value) and not value.strip(WIPED)


def _document(name: str, data: bytes) -> dict[str, Any]:
    try:
        # Editors of another system may begin the file with a byte order mark.
        return tomllib.loads(data.decode("utf-8-sig"), parse_float=Decimal)
    except UnicodeDecodeError as fault:
        raise BadProvision(name, [Phrase("the file is not UTF-8 text")]) from fault
    except tomllib.TOMLDecodeError as fault:
        raise BadProvision(name, [Phrase("not TOML: {reason}", reason=str(fault))]) from fault


def _spans(data: bytes) -> Iterator[tuple[int, int]]:
    for match in _SECRET_LINE.finditer(data):
        yield match.span("double" if match["double"] is not None else "single")


def _unreachable_secrets(document: Mapping[str, Any], data: bytes) -> list[str]:
    """Secrets written so that they could not be wiped in place: checked by wiping a copy and reading it again."""
    try:
        after = tomllib.loads(wiped(data, wipe_ranges(data)).decode("utf-8-sig"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        after = {}
    left = dict(_secrets(after))
    return [
        Phrase(
            '{path}: write it on a line of its own as {name} = "…", without backslashes',
            path=path,
            name=path.rpartition(".")[2],
        )
        for path, value in _secrets(document)
        if value and not is_wiped(left.get(path, ""))
    ]


def _secrets(table: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _secrets(value, f"{within}{name}.")
        elif name in SECRETS and isinstance(value, str):
            yield f"{within}{name}", value


def _table(document: Mapping[str, Any], name: str, faults: list[str], within: str = "") -> dict[str, Any]:
    found = document.get(name, {})
    if isinstance(found, dict):
        return found
    faults.append(Phrase("{within}{name}: must be a table", within=within, name=name))
    return {}


def _key_id(cloud: Mapping[str, Any], faults: list[str]) -> str:
    key_id = cloud.get("key_id")
    if isinstance(key_id, str) and _KEY_ID.fullmatch(key_id):
        return key_id
    wrong = Phrase("cloud.key_id: must match {pattern}", pattern=_KEY_ID.pattern)
    faults.append(wrong if key_id else Phrase("cloud.key_id: is missing"))
    return ""


def _key(cloud: Mapping[str, Any], faults: list[str]) -> str | None:
    key = cloud.get("key")
    if is_wiped(key):
        return None
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        # Never the value itself: a key with one digit too few is still most of a key.
        faults.append(Phrase("cloud.key: must be 64 lower-case hex digits in quotes, as the operator gave them"))
        return ""
    return key


def _ca(cloud: Mapping[str, Any], faults: list[str]) -> str | None:
    ca = cloud.get("ca")
    if ca is None:
        return None
    if not isinstance(ca, str) or "-----BEGIN CERTIFICATE-----" not in ca or "-----END CERTIFICATE-----" not in ca:
        faults.append(
            Phrase('cloud.ca: must be the certificate itself, between """ and """, from -----BEGIN to -----END')
        )
        return ""
    if "PRIVATE KEY" in ca:
        faults.append(Phrase("cloud.ca: holds a private key; a station needs the certificate only"))
    return ca.strip() + "\n"


def _credentials(proxy: Mapping[str, Any], faults: list[str]) -> str | None:
    user, password = proxy.get("user"), proxy.get("password")
    if user is None and password is None:
        return None
    if not isinstance(user, str) or not user or ":" in user or not isinstance(password, str) or not password:
        faults.append(Phrase("cloud.proxy: user and password belong together, and a user has no colon"))
        return ""
    return "" if is_wiped(password) else f"{user}:{password}"


def _settings(document: Mapping[str, Any], cloud: Mapping[str, Any], proxy: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"station_id": document.get("station_id", "")}
    kept = {name: value for name, value in cloud.items() if name not in {"key", "ca", "proxy"}}
    made["cloud"] = kept | ({"proxy_url": proxy.get("url", "")} if proxy else {})
    return made | {name: document[name] for name in PASSED_ON if name in document}
