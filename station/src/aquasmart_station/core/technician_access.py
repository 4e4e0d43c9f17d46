"""Who may sign in on the station itself: the `[access]` table of the provisioning file. Pure.

`ssh_keys` are lines of an `authorized_keys` file without options: what an account may do is the image's to say, not the
key's. `pin` is the technician's PIN, for the page, the serial console and SSH alike; only its hash is kept.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .phrases import Phrase
from .pin import FORM

WIPED = "*"
KINDS = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
_COMMENT = re.compile(r"[ -~]{0,100}")


@dataclass(frozen=True, slots=True)
class Access:
    """What the table asks for. No PIN shows in its repr."""

    ssh_keys: tuple[str, ...] | None = None
    """None: the file says nothing of keys, those that are there stay. Empty: nobody comes in by key."""
    pin: str | None = field(default=None, repr=False)
    """None: nothing said; empty: it was moved before, and stays."""

    @property
    def keys_text(self) -> str:
        """The `authorized_keys` file."""
        return "".join(f"{key}\n" for key in self.ssh_keys or ())


def access(table: object, faults: list[str]) -> Access:
    """The `[access]` table; faults are added."""
    if not isinstance(table, dict):
        faults.append(Phrase("access: must be a table"))
        return Access()
    unknown = sorted(table.keys() - {"ssh_keys", "pin"})
    faults += [Phrase("access.{name}: is no setting of it", name=name) for name in unknown]
    return Access(_keys(table, faults), _pin(table, faults))


def _keys(table: Mapping[str, Any], faults: list[str]) -> tuple[str, ...] | None:
    listed = table.get("ssh_keys")
    if listed is None:
        return None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        faults.append(Phrase('access.ssh_keys: must be a list such as ["ssh-ed25519 AAAA… ada"]'))
        return ()
    made = []
    for number, line in enumerate(listed):
        fault = _wrong_with(line.strip(), number)
        if fault is not None:
            faults.append(fault)
        made.append(line.strip())
    return tuple(made)


def _wrong_with(line: str, number: int) -> Phrase | None:
    """What is wrong with a public key's line; None where nothing is."""
    kind, _, rest = line.partition(" ")
    blob, _, comment = rest.partition(" ")
    if "PRIVATE KEY" in line:
        return Phrase(
            "access.ssh_keys[{number}]: is a private key; a station needs the public one (the line of the .pub file)",
            number=number,
        )
    if kind not in KINDS:
        return Phrase(
            "access.ssh_keys[{number}]: must begin with one of {kinds}, as the .pub file does",
            number=number,
            kinds=", ".join(KINDS),
        )
    try:
        data = base64.b64decode(blob, validate=True)
    except binascii.Error:
        data = b""
    # RFC 4253 §6.6: the blob repeats the kind, its length before it in four bytes.
    length = int.from_bytes(data[:4], "big")
    if data[4 : 4 + length] != kind.encode() or len(data) < 4 + length + 32:
        return Phrase(
            "access.ssh_keys[{number}]: is not a whole public key; copy the line of the .pub file again", number=number
        )
    if _COMMENT.fullmatch(comment):
        return None
    return Phrase("access.ssh_keys[{number}]: has a comment that is not plain text", number=number)


def _pin(table: Mapping[str, Any], faults: list[str]) -> str | None:
    pin = table.get("pin")
    if pin is None:
        return None
    if isinstance(pin, str) and pin and not pin.strip(WIPED):
        return ""
    if not isinstance(pin, str) or not FORM.fullmatch(pin):
        faults.append(Phrase("access.pin: must be 6 to 12 digits in quotes"))
        return ""
    return pin
