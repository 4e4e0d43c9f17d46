"""Which addresses a webhook may lead to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from aquasmart_cloud.core.alert_kinds import AlertError
from aquasmart_cloud.outgoing.addresses import Forbidden, public, read_networks, resolve
from aquasmart_cloud.store.webhooks import judge_url

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.3.4",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:db8::1",
]
"""Loopback, private, link-local with the clouds' metadata, shared, multicast, reserved, and IPv6 forms of such."""


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_on_the_open_internet_is_not_public(text: str) -> None:
    assert not public(ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"])
def test_what_is_on_the_open_internet_is(text: str) -> None:
    assert public(ip_address(text))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0", "::1", "[::1]".strip("[]")])
def test_every_way_to_write_loopback_is_refused_unless_it_is_allowed(host: str) -> None:
    with pytest.raises(Forbidden, match="not a public address"):
        resolve(host, 80, ())
    assert resolve(host, 80, read_networks("127.0.0.0/8, ::1/128, 0.0.0.0/32"))[1] is True


def test_an_address_that_is_public_needs_no_leave() -> None:
    assert resolve("1.1.1.1", 443, ()) == ("1.1.1.1", False)


def test_networks_are_read_and_nonsense_is_refused() -> None:
    assert read_networks("") == ()
    assert [str(each) for each in read_networks("10.1.0.0/16,fd00::/8")] == ["10.1.0.0/16", "fd00::/8"]
    with pytest.raises(ValueError, match="host bits"):
        read_networks("10.1.0.1/16")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://",
        "https:///hook",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "https://example.org/#part",
        "https://exa mple.org/",
        "https://example.org/a\r\nX-Header: 1",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org/\u00e9",
        "https://example.org/" + "a" * 2_000,
        "example.org",
    ],
)
def test_what_is_no_address_of_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(AlertError):
        judge_url(url)


def test_an_ordinary_address_is_taken() -> None:
    judge_url("https://alerts.example.org:8443/hook?tenant=7")
