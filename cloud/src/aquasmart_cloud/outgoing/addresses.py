"""Where a webhook may lead: public addresses only, unless the operator names a network. No request is made here.

A name is resolved once, every address it has is judged, and the connection goes to an address that was judged, so a
name that changes its mind between the look and the connection gains nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_NAT64 = ip_network("64:ff9b::/96")


class Forbidden(Exception):
    """The receiver's address is not one that may be called; the message says why, for the operator."""


def read_networks(text: str) -> tuple[Network, ...]:
    """`127.0.0.0/8, fd00::/8` as networks. Errors: ValueError."""
    return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())


def resolve(host: str, port: int, allowed: Sequence[Network]) -> tuple[str, bool]:
    """An address of `host` that may be called, and whether it is in a network that the operator has allowed.

    Errors: Forbidden where one of its addresses is private and not allowed; OSError where it has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    judged = [(each, _allowed(each, allowed)) for each in addresses]
    for each, by_operator in judged:
        if not (by_operator or public(ip_address(each))):
            raise Forbidden(f"{host} is {each}, which is not a public address; AQUASMART_WEBHOOK_ALLOW may name it")
    if not judged:
        raise OSError(f"{host} has no address")
    return judged[0]


def public(address: Address) -> bool:
    """Whether an address is on the open internet: not loopback, private, link-local, shared, multicast, reserved,
    nor an IPv6 form of such an IPv4 address, nor one of the tunnels that nobody should need any more."""
    inner = _inner(address)
    if inner is not None:
        return public(inner)
    if isinstance(address, IPv6Address) and (address.sixtofour is not None or address.teredo is not None):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to by mapping or translation (NAT64)."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _allowed(text: str, allowed: Sequence[Network]) -> bool:
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any(address in network or (mapped is not None and mapped in network) for network in allowed)
