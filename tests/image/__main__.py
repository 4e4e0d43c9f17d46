"""`python -m tests.image [IMAGE]`: boot an image for `qemuarm64`, and go through a station's life with it.

Without IMAGE a stand-in is made (standin.py) and tried; the report says which it was. Exit status: 0 all steps passed,
1 one did not, 2 it could not be begun.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from demo.site import REPOSITORY
from tests.image.card import NotAnImage
from tests.image.smoke import Smoke, Told
from tests.image.standin import stand_in
from tests.system.conftest import build_deb
from tests.system.emulated.parts import Unbuildable
from tests.system.rootfs import NoRootfs
from tests.update import uboot
from tests.update.bundles import Keys, ToolFailed, make_keys

TOOLS = (
    *("qemu-system-aarch64", "socat", "rauc", "mksquashfs", "mkimage", "mcopy", "mkfs.vfat", "debugfs", "resize2fs"),
    *("sfdisk", "blkid", "mmdebstrap", "zstd"),
)
PACKAGES = "qemu-system-arm u-boot-qemu u-boot-tools socat rauc squashfs-tools mtools dosfstools fdisk mmdebstrap zstd"


def chosen() -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__)
    words.add_argument("image", nargs="?", type=Path, help="aquasmart-image-qemuarm64.rootfs.wic, or .wic.zst")
    words.add_argument("--firmware", type=Path, help="U-Boot; else u-boot.bin beside the image, else Debian's")
    words.add_argument(
        "--keys", type=Path, help="folder of development-keys.sh whose keyring the image has; else RAUC_KEY_FILE's"
    )
    words.add_argument("--keep", type=Path, help="a folder for what is made; else a temporary one, removed at the end")
    words.add_argument("--report", type=Path, default=REPOSITORY / "build/image-smoke.json", help="what it came to")
    return words.parse_args()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    arguments = chosen()
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    os.environ["PATH"] = path
    absent = [name for name in TOOLS if not shutil.which(name)]
    if absent or not uboot.FIRMWARE.exists():
        print(f"this machine lacks {', '.join(absent) or 'U-Boot'}: apt-get install {PACKAGES}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="aquasmart-image-", dir=arguments.keep))
    told = Told(show=lambda line: print(line, flush=True))
    report: dict[str, Any] = {"baked": arguments.image is not None, "passed": False, "steps": told.steps}
    try:
        image, firmware, keys = _given(arguments, folder, told)
        report |= {"image": image.name, "sha256": sha256(image)}
        Smoke(image, firmware, keys, folder, told).run()
        report["passed"] = True
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (NotAnImage, NoRootfs, Unbuildable, ToolFailed) as fault:
        print(fault, file=sys.stderr)
        return 1 if told.steps else 2
    except AssertionError as fault:
        print(f"{fault}\nthe board's serial line: {folder / 'console'}", file=sys.stderr)
        return 1
    finally:
        report["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        arguments.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if report["passed"] and not arguments.keep:
            shutil.rmtree(folder)
    what = "baked image" if report["baked"] else "stand-in (no baked image: see tests/image/standin.py)"
    print(f"all {len(told.steps)} steps passed: {what}; {arguments.report}")
    return 0


def _given(arguments: argparse.Namespace, folder: Path, told: Told) -> tuple[Path, Path, Keys]:
    """Image, U-Boot and signing keys. Raises NotAnImage."""
    image: Path | None = arguments.image
    if image is None:
        keys = make_keys(folder / "keys")
        with told.step("a stand-in: the layer's own parts on Debian, since no IMAGE was given"):
            made = stand_in(folder / "stand-in.wic", build_deb("station", folder / "deb"), keys)
        return made, arguments.firmware or uboot.firmware(folder), keys
    if not image.is_file():
        raise NotAnImage(f"there is no {image}")
    key_file = os.environ.get("RAUC_KEY_FILE")
    keys_folder: Path | None = arguments.keys or (Path(key_file).parent if key_file else None)
    if keys_folder is None or not (keys_folder / "bundle.key.pem").is_file():
        raise NotAnImage("whose bundles does the image take? --keys FOLDER, or RAUC_KEY_FILE as for the bake")
    beside = image.parent / "u-boot.bin"
    firmware = arguments.firmware or (beside if beside.exists() else uboot.firmware(folder))
    return image, firmware, Keys(keys_folder)


if __name__ == "__main__":
    sys.exit(main())
