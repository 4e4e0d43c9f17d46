"""The `[access]` table of the provisioning file: which keys, which PIN, every fault at once, no PIN in a message."""

from __future__ import annotations

import base64

import pytest

from aquasmart_station.core.provisioning import BadProvision, read_plan, wipe_ranges, wiped
from aquasmart_station.core.technician_access import Access, access

BLOB = base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(range(32))).decode()
KEY = f"ssh-ed25519 {BLOB} ada@workshop"


def faults_of(table: object) -> list[str]:
    faults: list[str] = []
    access(table, faults)
    return faults


def test_nothing_said_changes_nothing() -> None:
    assert access({}, []) == Access(None, None)


def test_keys_become_an_authorized_keys_file() -> None:
    found = access({"ssh_keys": [f"  {KEY} ", f"ssh-ed25519 {BLOB}"], "pin": "271828"}, faults := [])
    assert (found.keys_text, found.pin, faults) == (f"{KEY}\nssh-ed25519 {BLOB}\n", "271828", [])
    assert "271828" not in repr(found)


def test_an_empty_list_takes_every_key_away_and_stars_keep_the_pin() -> None:
    found = access({"ssh_keys": [], "pin": "******"}, [])
    assert (found.ssh_keys, found.keys_text, found.pin) == ((), "", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "must begin with one of"),
        (BLOB, "must begin with one of"),
        (f'command="/bin/sh" ssh-ed25519 {BLOB}', "must begin with one of"),
        (f"restrict,pty ssh-ed25519 {BLOB}", "must begin with one of"),
        ("ssh-ed25519", "not a whole public key"),
        (f"ssh-ed25519 {BLOB[:-8]}", "not a whole public key"),
        (f"ssh-rsa {BLOB}", "not a whole public key"),
        (f"ssh-ed25519 {BLOB} a\nssh-ed25519 {BLOB}", "comment that is not plain text"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
    ],
)
def test_a_line_that_is_no_key(line: str, said: str) -> None:
    assert said in faults_of({"ssh_keys": [line]})[0]


@pytest.mark.parametrize("pin", ["12345", "1234567890123", "12345a", 123456, "", "１２３４５６"])
def test_a_pin_that_is_none_is_not_repeated(pin: object) -> None:
    (fault,) = faults_of({"pin": pin})
    assert fault == "access.pin: must be 6 to 12 digits in quotes"


def test_every_fault_at_once() -> None:
    assert faults_of("x") == ["access: must be a table"]
    assert faults_of({"ssh_keys": "x", "pin": 1, "password": "y"}) == [
        "access.password: is no setting of it",
        'access.ssh_keys: must be a list such as ["ssh-ed25519 AAAA… ada"]',
        "access.pin: must be 6 to 12 digits in quotes",
    ]


FILE = f"""\
station_id = "s-1"

[cloud]
url = "https://c.example"
key_id = "k1"
key = "{"5a" * 32}"

[access]
pin = "271828"
ssh_keys = ["{KEY}"]
"""


def test_the_pin_is_wiped_in_place_and_the_key_is_not() -> None:
    data = FILE.encode()
    assert read_plan("f", data).access.pin == "271828"
    after = wiped(data, wipe_ranges(data))
    assert len(after) == len(data)
    assert b"271828" not in after
    assert KEY.encode() in after
    assert read_plan("f", after).access == Access((KEY,), "")


def test_a_pin_that_could_not_be_wiped_is_a_fault() -> None:
    bad = b'access = { pin = "271828" }\n' + FILE[: FILE.index("[access]")].encode()
    with pytest.raises(BadProvision) as caught:
        read_plan("f", bad)
    assert any(fault.startswith("access.pin: write it on a line of its own") for fault in caught.value.faults)
