"""A station with two slots on loop devices, in a container: RAUC's own service writes them, a simulated boot loader
chooses one and counts as the boot script does.

What differs between images lies in the slot: the station's software, `image.json`, RAUC's configuration, the handler.
The Debian below is the same for both, to save minutes; so is the data partition beside them, as on a card.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.system.machines import Cable, Container
from tests.update.bundles import COMPATIBLE, HANDLER, Keys, run, system_conf
from tests.update.uboot import GOOD, TRIES

SLOT_MIB = 24
DATA = ("var/lib/aquasmart", "var/lib/aquasmart-update", "var/lib/boot-env", "var/meter")
FLOW = "etc/meter.env"
SITE = "usr/lib/python3/dist-packages/aquasmart_station"

BACKEND = """\
#!/bin/sh
# RAUC's custom back end (docs: bootloader-custom-backend): the same counters as U-Boot's environment, in files.
set -eu
cd /var/lib/boot-env
case $1 in
get-primary) for slot in $(cat order); do [ "$(cat "$slot")" = 0 ] || { echo "$slot"; exit 0; }; done; exit 1 ;;
set-primary) echo TRIES >"$2"; echo "$2 $(sed "s/$2//" order)" >order.new; mv order.new order ;;
get-state) if [ "$(cat "$2")" != 0 ] && grep -qw "$2" order; then echo good; else echo bad; fi ;;
set-state)
  if [ "$3" = good ]; then echo GOOD >"$2"; else echo 0 >"$2"; sed -i "s/$2//" order; fi ;;
*) exit 2 ;;
esac
"""
_MARK_GOOD = "[Service]\nExecStart=\nExecStart=/usr/bin/aquasmart update mark-good --hold 2 --within {within_s}\n"
_RAUC = "[Service]\nExecStart=\nExecStart=/usr/bin/rauc --override-boot-slot={slot} service\n"
_LINKS = {
    "aquasmart.target.wants/aquasmart-mark-good.service": "aquasmart-mark-good.service",
    "sysinit.target.wants/aquasmart-trial-over.timer": "aquasmart-trial-over.timer",
}


def slot_image(
    target: Path,
    base: Path,
    keys: Keys,
    *,
    number: int,
    version: str,
    devices: tuple[Path, Path],
    bundle_formats: str,
    within_s: int = 300,
    change: Callable[[Path], None] = lambda _package: None,
) -> Path:
    """An image's file system, as ext4. `change` may alter the station's package in it, given its folder."""
    tree = target.with_suffix(".tree")
    shutil.copytree(base / SITE, tree / SITE, ignore=shutil.ignore_patterns("__pycache__"))
    change(tree / SITE)
    conf = system_conf(
        bootloader="custom",
        device_a=str(devices[0]),
        device_b=str(devices[1]),
        handlers="bootloader-custom-backend=/usr/libexec/aquasmart/boot-backend\n",
        bundle_formats=bundle_formats,
    )
    units = "etc/systemd/system"
    texts = {
        "etc/aquasmart/image.json": f'{{"version": "{version}", "number": {number}, "compatible": "{COMPATIBLE}"}}\n',
        "etc/rauc/system.conf": conf,
        "etc/rauc/keyring.pem": keys.keyring.read_text(),
        "usr/libexec/aquasmart/pre-install": HANDLER.read_text(),
        "usr/libexec/aquasmart/boot-backend": BACKEND.replace("TRIES", TRIES).replace("GOOD", GOOD),
        f"{units}/aquasmart-mark-good.service.d/quick.conf": _MARK_GOOD.format(within_s=within_s),
    }
    for name, text in texts.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if "libexec" in name else 0o644)
    for name, unit in _LINKS.items():
        link = tree / units / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/usr/lib/systemd/system/{unit}")
    run("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", tree, target, f"{SLOT_MIB - 4}M")
    shutil.rmtree(tree)
    return target


class SlotMachine:
    """The machine: `boot` is a boot loader's. Off until then."""

    def __init__(self, base: Path, folder: Path, name: str, cable: Cable) -> None:
        self.root, self._base, self._folder = folder / "root", base, folder
        self._mounts = ExitStack()
        self._loops: list[Path] = []
        for letter in "AB":
            image = folder / f"slot-{letter}.img"
            with image.open("wb") as file:
                file.truncate(SLOT_MIB << 20)
            self._loops.append(Path(run("losetup", "--find", "--show", image).strip()))
        nodes = (Path("/dev/loop-control"), *sorted(Path("/dev").glob("loop[0-9]*")))
        self.container = Container(self.root, name, cable, folder / "console", devices=nodes)
        for part in ("root", "provisioned", "slot", *(f"data/{each}" for each in DATA)):
            (folder / part).mkdir(parents=True)
        for slot in ("A", "B"):
            self.set_left(slot, "0")
        self.order = "A B"
        self.slot, self.trial = "", ""

    @property
    def devices(self) -> tuple[Path, Path]:
        return self._loops[0], self._loops[1]

    # The boot loader's environment

    @property
    def _env(self) -> Path:
        return self._folder / "data/var/lib/boot-env"

    @property
    def order(self) -> str:
        return (self._env / "order").read_text().strip()

    @order.setter
    def order(self, value: str) -> None:
        (self._env / "order").write_text(value + "\n")

    def left(self, slot: str) -> str:
        return (self._env / slot).read_text().strip()

    def set_left(self, slot: str, left: str) -> None:
        (self._env / slot).write_text(left + "\n")

    def flash(self, slot: str, image: Path) -> None:
        """As a card is made: an image in a slot, good."""
        run("dd", f"if={image}", f"of={self.devices['AB'.index(slot)]}", "bs=1M", "conv=fsync", "status=none")
        self.set_left(slot, GOOD)

    def _choose(self) -> None:
        """What boot.cmd.in does; tests/update/test_boot_script.py holds the script itself to it."""
        for slot in self.order.split():
            other = "A" if slot == "B" else "B"
            left = self.left(slot)
            if left == "0":
                continue
            self.slot, self.trial = slot, ""
            if left != GOOD:
                self.set_left(slot, str(int(left) - 1))
                self.trial = "fallback" if self.left(other) == GOOD else "last"
            return
        raise AssertionError("no slot to start")

    # The machine

    def provisioning(self) -> ExitStack:
        """While open, `root` is the Debian with what provisioning writes into it; kept for every later boot."""
        stack = ExitStack()
        self._overlay(stack, [self._base], self._folder / "provisioned")
        return stack

    def boot(self) -> float:
        self._choose()
        mounts = self._mounts = ExitStack()
        slot = self._folder / "slot"
        _mount(mounts, slot, "-o", "ro", self.devices["AB".index(self.slot)], slot)
        written = self._folder / "written"
        shutil.rmtree(written, ignore_errors=True)
        written.mkdir()
        self._overlay(mounts, [self._folder / "provisioned", slot, self._base], written)
        for name in DATA:
            (self.root / name).mkdir(parents=True, exist_ok=True)
            _mount(mounts, self.root / name, "--bind", self._folder / "data" / name, self.root / name)
        drop_in = self.root / "etc/systemd/system/rauc.service.d/slot.conf"
        drop_in.parent.mkdir(exist_ok=True)
        drop_in.write_text(_RAUC.format(slot=self.slot))
        words = [f"rauc.slot={self.slot}", *([f"aquasmart.trial={self.trial}"] if self.trial else [])]
        self.container.kernel_words = tuple(words)
        return self.container.boot()

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.container.run(*command, check=check)

    def power_off(self) -> None:
        self.container.power_off()
        self._unmount()

    def await_restart(self, timeout_s: float = 90.0) -> None:
        """Until it has restarted by itself. Off then: `boot` goes on."""
        self.container.await_restart(timeout_s)
        self._unmount()

    def destroy(self) -> None:
        self.container.destroy()
        self._mounts.close()

    def remove(self) -> None:
        """Give the loop devices back."""
        self.destroy()
        for loop in self._loops:
            subprocess.run(["losetup", "--detach", str(loop)], capture_output=True)

    def _unmount(self) -> None:
        """What an image wrote beside the data partition is gone; how the water flows is not the image's."""
        flow = (self.root / FLOW).read_text()
        self._mounts.close()
        (self._folder / "provisioned" / FLOW).write_text(flow)

    def own_data(self) -> None:
        """The data partition's folders belong to whom they belong in the root file system."""
        for name in DATA:
            for layer in (self._folder / "provisioned", self._base):
                if (layer / name).is_dir():
                    shutil.copystat(layer / name, self._folder / "data" / name)
                    found = (layer / name).stat()
                    shutil.chown(self._folder / "data" / name, found.st_uid, found.st_gid)
                    (self._folder / "data" / name).chmod(found.st_mode & 0o7777)
                    break

    def _overlay(self, stack: ExitStack, lower: list[Path], upper: Path) -> None:
        work = self._folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        options = f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"
        _mount(stack, self.root, "-t", "overlay", "overlay", "-o", options, self.root)


def _mount(stack: ExitStack, place: Path, *words: str | Path) -> None:
    run("mount", *words)
    stack.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
