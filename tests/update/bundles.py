"""Bundles and keys made by the real tools: the layer's key script, `rauc bundle`."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from demo.site import REPOSITORY

LAYER = REPOSITORY / "yocto-layer"
COMPATIBLE = "aquasmart-qemuarm64"
KEY_SCRIPT = LAYER / "scripts" / "development-keys.sh"
HANDLER = LAYER / "recipes-core" / "rauc" / "files" / "pre-install.sh"
SYSTEM_CONF = LAYER / "recipes-core" / "rauc" / "files" / "system.conf"


class ToolFailed(AssertionError):
    """A program ended badly; its words are the message."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        raise ToolFailed(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Keys:
    """A folder as the key script makes it."""

    folder: Path

    @property
    def keyring(self) -> Path:
        return self.folder / "keyring.pem"


def make_keys(folder: Path, name: str = "test") -> Keys:
    run(KEY_SCRIPT, folder, name)
    return Keys(folder)


def manifest(number: int | str, version: str, compatible: str, bundle_format: str) -> str:
    """As the layer's bundle recipe has it made."""
    return (
        f"[update]\ncompatible={compatible}\nversion={version}\nbuild={number}\n\n"
        f"[bundle]\nformat={bundle_format}\n\n[image.rootfs]\nfilename=rootfs.ext4\n"
    )


def make_bundle(
    folder: Path,
    keys: Keys,
    *,
    number: int | str,
    version: str = "1.0.0",
    compatible: str = COMPATIBLE,
    image: Path | None = None,
    bundle_format: str = "verity",
) -> Path:
    """A signed bundle. `image`: the root file system, a file that this may move away; else 64 KiB of something."""
    content = folder / f"content-{number}"
    content.mkdir(parents=True)
    target = content / "rootfs.ext4"
    if image is None:
        # Nothing that can be compressed: RAUC refuses a payload of 4 KiB or less, as a squashfs.
        target.write_bytes(os.urandom(65_536))
    else:
        image.rename(target)
    (content / "manifest.raucm").write_text(manifest(number, version, compatible, bundle_format))
    bundle = folder / f"{number}.raucb"
    cert, key = keys.folder / "bundle.cert.pem", keys.folder / "bundle.key.pem"
    run("rauc", "bundle", f"--cert={cert}", f"--key={key}", content, bundle)
    return bundle


def system_conf(
    *, bootloader: str, device_a: str, device_b: str, handlers: str = "", bundle_formats: str = "verity"
) -> str:
    """The layer's own configuration with its words filled in; another boot loader than U-Boot where a test has none."""
    text = SYSTEM_CONF.read_text()
    for word, value in (("COMPATIBLE", COMPATIBLE), ("DEV_A", device_a), ("DEV_B", device_b)):
        text = text.replace(f"@{word}@", value)
    lines = [line for line in text.splitlines() if not line.startswith("boot-attempts")]
    text = "\n".join(lines).replace("bootloader=uboot", f"bootloader={bootloader}")
    text = text.replace("bundle-formats=verity", f"bundle-formats={bundle_formats}")
    assert "@" not in "".join(line for line in text.splitlines() if not line.startswith("#")), text
    return text.replace("[handlers]\n", f"[handlers]\n{handlers}") + "\n"
