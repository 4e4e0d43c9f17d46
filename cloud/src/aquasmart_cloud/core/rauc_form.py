"""The form of a RAUC bundle: enough to refuse what is none before stations are sent to fetch it. Pure.

A bundle is a squashfs image, for the verity format followed by its hash tree, then a CMS signature in DER, then that
signature's size as 64 bits, big-endian (RAUC's reference manual, "Bundle Formats"). Whether the signature is right is
for `rauc` and for each station to say.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import CloudError

HEAD_BYTES = 96
"""A squashfs superblock (version 4)."""
TAIL_BYTES = 8
MOST_SIGNATURE_BYTES = 64 * 1024
"""RAUC's own limit."""
LEAST_BYTES = 4096 + HEAD_BYTES
_BLOCK = 4096
_SQUASHFS = b"hsqs"
_DER_SEQUENCE = 0x30


class NoBundle(CloudError):
    """A file that is no bundle, or not the one that it was said to be."""


def check_form(size_bytes: int, read: Callable[[int, int], bytes]) -> None:
    """Errors: NoBundle. `read(offset, length)` gives bytes of the file."""
    head = read(0, HEAD_BYTES) if size_bytes >= LEAST_BYTES else b""
    if len(head) < HEAD_BYTES or not head.startswith(_SQUASHFS):
        raise _no_bundle("it does not begin with a squashfs image")
    signature_bytes = int.from_bytes(read(size_bytes - TAIL_BYTES, TAIL_BYTES), "big")
    if not 0 < signature_bytes <= MOST_SIGNATURE_BYTES:
        raise _no_bundle("it does not end with a signature's size: was it cut short?")
    payload_bytes = size_bytes - TAIL_BYTES - signature_bytes
    used_bytes = int.from_bytes(head[40:48], "little")
    if payload_bytes < HEAD_BYTES or not HEAD_BYTES <= used_bytes <= payload_bytes:
        raise _no_bundle("its image is longer than the file: was it cut short?")
    if payload_bytes % _BLOCK:
        raise _no_bundle("its image does not end at a block of 4 KiB")
    if read(payload_bytes, 1) != bytes([_DER_SEQUENCE]):
        raise _no_bundle("there is no signature where one should be")


def _no_bundle(why: str) -> NoBundle:
    return NoBundle(f"this is no RAUC bundle: {why}", "make it with 'bitbake aquasmart-bundle', and add that file")
