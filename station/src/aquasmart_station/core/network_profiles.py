"""Network settings of the provisioning file, as NetworkManager's key files (docs/decisions/0043-provisioning.md).

Pure text. The format is GKeyFile's: a backslash escapes, leading and trailing spaces are `\\s`. Every fault is added
to a list; a name that is not known is one.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .phrases import Phrase

WIPED = "*"
_PRINTABLE = re.compile(r"[ -~]{8,63}|[0-9A-Fa-f]{64}")
_PLAIN_SSID = re.compile(r"[A-Za-z0-9_.-]([A-Za-z0-9 _.-]*[A-Za-z0-9_.-])?")
_APN = re.compile(r"[A-Za-z0-9._-]{1,100}")
_PIN = re.compile(r"[0-9]{4,8}")
_ADDRESSES = {"address", "gateway", "dns"}
_KNOWN = {
    "wifi": {"ssid", "password", "hidden", *_ADDRESSES},
    "modem": {"apn", "user", "password", "pin"},
    "ethernet": _ADDRESSES,
}


@dataclass(frozen=True, slots=True)
class Connection:
    """One key file. `moved`: its secrets were moved before, so the file that is there stays."""

    name: str
    text: str = field(repr=False)
    moved: bool = False


def connections(network: object, station_id: str, faults: list[str]) -> tuple[Connection, ...]:
    """The key files of a `[network]` table; faults are added."""
    if not isinstance(network, dict):
        faults.append(Phrase("network: must be a table"))
        return ()
    made = []
    for kind, table in network.items():
        if kind not in _KNOWN or not isinstance(table, dict):
            faults.append(
                Phrase(
                    "network.{kind}: there are the tables {known}",
                    kind=kind,
                    known=", ".join(f"[network.{each}]" for each in _KNOWN),
                )
            )
            continue
        faults += [
            Phrase("network.{kind}.{name}: is no setting of it", kind=kind, name=name)
            for name in sorted(table.keys() - _KNOWN[kind])
        ]
        parts = {"wifi": _wifi, "modem": _modem, "ethernet": _ethernet}[kind](table, faults)
        made.append(Connection(f"aquasmart-{kind}", _text(kind, station_id, parts), _moved(table)))
    return tuple(made)


def _moved(table: Mapping[str, Any]) -> bool:
    return any(isinstance(v := table.get(name), str) and v and not v.strip(WIPED) for name in ("password", "pin"))


def _text(kind: str, station_id: str, parts: dict[str, dict[str, str]]) -> str:
    types = {"wifi": "wifi", "modem": "gsm", "ethernet": "ethernet"}
    # The same at each run, so that NetworkManager sees a change of a connection and not another one.
    own = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:aquasmart:station:{station_id}:{kind}")
    head = {"id": f"aquasmart-{kind}", "uuid": str(own), "type": types[kind], "autoconnect": "true"}
    # A cable before Wi-Fi before a modem: what costs nothing first.
    head["autoconnect-priority"] = {"ethernet": "30", "wifi": "20", "modem": "10"}[kind]
    sections = {"connection": head, **parts}
    lines = {name: "".join(f"{key}={value}\n" for key, value in values.items()) for name, values in sections.items()}
    return "\n".join(f"[{name}]\n{text}" for name, text in lines.items())


def _wifi(table: Mapping[str, Any], faults: list[str]) -> dict[str, dict[str, str]]:
    ssid, password = table.get("ssid"), table.get("password")
    if not isinstance(ssid, str) or not 1 <= len(ssid.encode()) <= 32:
        faults.append(Phrase("network.wifi.ssid: must be a name of 1 to 32 bytes"))
        ssid = ""
    own = {"mode": "infrastructure", "ssid": _ssid(ssid)}
    if _flag(table, "hidden", "network.wifi", faults):
        own["hidden"] = "true"
    parts = {"wifi": own}
    if password is not None:
        if not isinstance(password, str) or (password.strip(WIPED) and not _PRINTABLE.fullmatch(password)):
            faults.append(Phrase("network.wifi.password: must be 8 to 63 ordinary characters, or 64 hex digits"))
            password = ""
        parts["wifi-security"] = {"key-mgmt": "wpa-psk", "psk": escaped(password)}
    return parts | _addresses(table, "network.wifi", faults)


def _modem(table: Mapping[str, Any], faults: list[str]) -> dict[str, dict[str, str]]:
    own: dict[str, str] = {}
    for name, key, pattern in (("apn", "apn", _APN), ("user", "username", None), ("password", "password", None)):
        value = table.get(name)
        if value is None and name != "apn":
            continue
        if not isinstance(value, str) or not _one_line(value) or (pattern and not pattern.fullmatch(value)):
            faults.append(Phrase("network.modem.{name}: must be text on one line, as the provider gave it", name=name))
            continue
        own[key] = escaped(value)
    pin = table.get("pin")
    if pin is not None:
        if not isinstance(pin, str) or (pin.strip(WIPED) and not _PIN.fullmatch(pin)):
            faults.append(Phrase("network.modem.pin: must be 4 to 8 digits in quotes"))
            pin = ""
        own["pin"] = pin
    return {"gsm": own, "ipv4": {"method": "auto"}, "ipv6": {"method": "auto"}}


def _ethernet(table: Mapping[str, Any], faults: list[str]) -> dict[str, dict[str, str]]:
    return {"ethernet": {}} | _addresses(table, "network.ethernet", faults)


def _addresses(table: Mapping[str, Any], where: str, faults: list[str]) -> dict[str, dict[str, str]]:
    """`address`, `gateway`, `dns`: a static IPv4 address, or nothing and DHCP."""
    address, gateway, dns = table.get("address"), table.get("gateway"), table.get("dns", [])
    automatic = {"ipv4": {"method": "auto"}, "ipv6": {"method": "auto"}}
    if address is None:
        if gateway is not None or dns:
            faults.append(
                Phrase("{where}: gateway and dns belong to a static address; address is missing", where=where)
            )
        return automatic
    try:
        # Without a prefix the address would be a network of its own.
        found = ipaddress.IPv4Interface(str(address) if "/" in str(address) else "")
        own = {"method": "manual", "address1": found.with_prefixlen}
    except ValueError:
        faults.append(
            Phrase("{where}.address: must be an IPv4 address with its prefix, such as 192.0.2.10/24", where=where)
        )
        return automatic
    if gateway is not None:
        _gateway(own, str(gateway), found, where, faults)
    try:
        servers = [str(ipaddress.IPv4Address(str(each))) for each in (dns if isinstance(dns, list) else [dns])]
    except ValueError:
        faults.append(Phrase("{where}.dns: must be a list of IPv4 addresses", where=where))
        servers = []
    if servers:
        own["dns"] = ";".join(servers) + ";"
    return {"ipv4": own, "ipv6": {"method": "disabled"}}


def _gateway(
    own: dict[str, str], gateway: str, address: ipaddress.IPv4Interface, where: str, faults: list[str]
) -> None:
    try:
        if ipaddress.IPv4Address(gateway) not in address.network:
            faults.append(
                Phrase(
                    "{where}.gateway: {gateway} is not in the network of {address}",
                    where=where,
                    gateway=gateway,
                    address=address,
                )
            )
        own["address1"] += f",{gateway}"
    except ValueError:
        faults.append(Phrase("{where}.gateway: must be an IPv4 address", where=where))


def _flag(table: Mapping[str, Any], name: str, where: str, faults: list[str]) -> bool:
    value = table.get(name, False)
    if not isinstance(value, bool):
        faults.append(Phrase("{where}.{name}: must be true or false", where=where, name=name))
        return False
    return value


def _one_line(value: str) -> bool:
    return bool(value) and value.isprintable()


def _ssid(ssid: str) -> str:
    """As text where that is beyond doubt, else as a list of bytes, which needs no escapes at all."""
    if _PLAIN_SSID.fullmatch(ssid):
        return ssid
    return "".join(f"{octet};" for octet in ssid.encode())


def escaped(value: str) -> str:
    """A value of a GKeyFile."""
    text = value.replace("\\", "\\\\")
    lead, trail = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    if lead == len(text):
        return "\\s" * lead
    return "\\s" * lead + text[lead : len(text) - trail] + "\\s" * trail
