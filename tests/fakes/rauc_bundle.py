"""Files of a RAUC bundle's form, with a manifest that tests/fakes/rauc_program.py reads. Nobody has signed them."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096
MANIFEST_AT = 512
SIGNATURE_BYTES = 1500


@dataclass(frozen=True)
class MadeBundle:
    """A bundle as a file, and what it says of itself."""

    path: Path
    version: str
    number: int
    compatible: str

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def make_bundle(
    path: Path,
    version: str = "1.5.0",
    number: int = 13,
    compatible: str = "aquasmart-test",
    *,
    blocks: int = 64,
    seed: int = 1,
) -> MadeBundle:
    """A squashfs superblock, a manifest, noise that no link can compress, a signature's place and its size."""
    manifest = json.dumps({"version": version, "build": str(number), "compatible": compatible}).encode()
    image = bytearray(random.Random(seed).randbytes(blocks * BLOCK))
    image[:96] = b"hsqs" + bytes(36) + len(image).to_bytes(8, "little") + bytes(48)
    image[MANIFEST_AT : MANIFEST_AT + 4 + len(manifest)] = len(manifest).to_bytes(4, "big") + manifest
    signature = b"\x30\x82" + (SIGNATURE_BYTES - 4).to_bytes(2, "big") + bytes(SIGNATURE_BYTES - 4)
    path.write_bytes(bytes(image) + signature + len(signature).to_bytes(8, "big"))
    return MadeBundle(path, version, number, compatible)
