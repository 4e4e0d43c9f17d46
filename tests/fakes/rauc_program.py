"""Stands for the program `rauc` where tests are about the way to it: a real process with its words and its statuses.

`info --output-format=json FILE` tells a bundle's manifest, `install FILE` copies it into the folder RAUC_WORLD as the
other slot. The file `order` there says how it fails: `refuse` (info), `busy`, `fail`, `hang` or `slow` (install). What
real RAUC does is tested with real RAUC, in tests/update.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

MANIFEST_AT = 512


def main(words: list[str]) -> int:
    """Run one command."""
    world = Path(os.environ["RAUC_WORLD"])
    order = (world / "order").read_text().strip() if (world / "order").exists() else ""
    with (world / "calls").open("a") as calls:
        calls.write(" ".join(words[:1]) + "\n")
    file = Path(words[-1])
    if words[0] == "info":
        if order == "refuse":
            print("signature verification failed: self-signed certificate", file=sys.stderr)
            return 1
        with file.open("rb") as bundle:
            bundle.seek(MANIFEST_AT)
            length = int.from_bytes(bundle.read(4), "big")
            print(json.dumps(json.loads(bundle.read(length)) | {"images": []}))
        return 0
    if words[0] != "install":
        return 2
    if order == "busy":
        print("Installation error: Already processing a different method", flush=True)
        return 1
    print("installing", flush=True)
    print("  0% Installing", flush=True)
    if order == "fail":
        print("Installation error: Failed mounting slot: read-only", flush=True)
        return 1
    while order in {"hang", "slow"}:
        time.sleep(0.1)
        order = (world / "order").read_text().strip()
    fresh = world / "other-slot.new"
    shutil.copyfile(file, fresh)
    fresh.rename(world / "other-slot")
    print("100% Installing done.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
