"""A stand-in for an image that was baked: what the layer itself brings, on Debian's programs and Debian's kernel.

Of the layer, the very files and figures: the recipes' own install tasks are carried out on an arm64 Debian, with the
recipes' users, units, RAUC's configuration, boot script and partitions. What Yocto alone makes is not in it: the kernel
with the layer's fragments, the versions of every program, U-Boot, the package lists. Known differences: an initrd
(Debian's kernel has its disk as a module) that also stands for volatile-binds; no chrony and no sshd, whose
units have other names at Debian.
"""

from __future__ import annotations

import re
import shlex
import shutil
import struct
import tempfile
from functools import cache
from pathlib import Path

from tests.system.emulated import parts
from tests.system.raspberry.foreign import Apt, foreign_debian
from tests.system.rootfs import layered
from tests.update.bundles import COMPATIBLE, HANDLER, LAYER, SYSTEM_CONF, Keys
from tests.update.uboot import GOOD, TRIES, WORDS, boot_script
from tests.yocto.recipes import CONFIG_RECIPE, STATION_RECIPE, layout, variables

KERNEL = "linux-image-arm64"
PACKAGES = (
    *("network-manager", "nftables", "sudo", "openssh-client", "libubootenv-tool", "e2fsprogs", "fdisk"),
    *("kmod", "login", "dosfstools"),
)
"""What the layer's recipes ask for at run time, by Debian's names."""
DISK_MODULES = ("virtio_mmio", "virtio_blk", "ext4", "overlay")
MODULES = (
    *DISK_MODULES,
    *("virtio_net", "xhci_pci", "usb_storage", "uas", "sd_mod", "usbserial", "ftdi_sio", "i6300esb"),
    *("vfat", "nls_cp437", "nls_iso8859-1", "nls_ascii", "loop", "squashfs", "dm_mod", "dm_verity"),
    *("nf_tables", "nft_ct", "nft_limit", "nft_reject_inet", "nf_conntrack"),
)
"""What the layer's kernel fragments ask for, as far as Debian's kernel has it apart."""
RAUC_CONF = LAYER / "recipes-core/rauc/rauc-conf.bbappend"
COMMON_AUTH = LAYER / "recipes-extended/pam/libpam/aquasmart-common-auth"
VERSION, NUMBER = "1.0.0", "1"
PLACES = {
    "bindir": "/usr/bin", "sbindir": "/usr/sbin", "libexecdir": "/usr/libexec", "sysconfdir": "/etc",
    "datadir": "/usr/share",
    "localstatedir": "/var", "nonarch_libdir": "/usr/lib", "nonarch_base_libdir": "/usr/lib",
    "systemd_system_unitdir": "/usr/lib/systemd/system",
}  # fmt: skip
"""BitBake's names of folders, on a merged /usr."""
_MIB = 1 << 20


@cache
def apt() -> Apt:
    return Apt("arm64")


def stand_in(target: Path, station_deb: Path, keys: Keys) -> Path:
    """An image as wic would have written it. Raises Unbuildable, NoRootfs."""
    base = foreign_debian(apt(), *PACKAGES)
    with tempfile.TemporaryDirectory(prefix="aquasmart-image-", dir=target.parent) as scratch:
        work = Path(scratch)
        with layered(base, work / "files") as root:
            _kernel(root)
            _station(root, station_deb)
            _appliance(root, work)
            install_rauc(root, work, keys)
            _seal(root)
            slot = work / "slot.ext4"
            slot_mib = int(layout()["AQUASMART_SLOT_MIB"])
            words = ["-q", "-t", "ext4", "-i", "4096", "-L", layout()["AQUASMART_LABEL_A"], "-E", "root_owner=0:0"]
            parts.run("mke2fs", *words, "-d", root, slot, f"{slot_mib}M")
        _write_card(target, slot, work)
    return target


def _kernel(root: Path) -> None:
    kernel = parts.kernel(KERNEL, apt().options)
    busybox = parts.unpacked("busybox-static:arm64", apt=apt().options) / "bin" / "busybox"
    (root / "boot").mkdir(exist_ok=True)
    shutil.copy(parts.kernel_image(kernel), root / "boot/Image")
    shutil.copy(
        parts.initrd(kernel, busybox, DISK_MODULES, Path(__file__).parent / "guest/initrd-init"), root / "boot/initrd"
    )
    source = kernel / "lib" / "modules"
    for path in parts.module_files(kernel, MODULES):
        place = root / "usr/lib/modules" / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    name = parts.version(kernel)
    for path in (source / name).glob("modules.*"):
        shutil.copy(path, root / "usr/lib/modules" / name)
    parts.run("depmod", "-b", root / "usr", name)


def _users(root: Path, recipe: Path) -> None:
    """The recipe's users, by its own words."""
    said = variables(recipe)
    for words in said["GROUPADD_PARAM:${PN}"].split(";"):
        parts.run("groupadd", "--prefix", root, "--force", *shlex.split(words))
    for words in said["USERADD_PARAM:${PN}"].split(";"):
        parts.run("useradd", "--prefix", root, *shlex.split(_filled(words, {})))


def _station(root: Path, deb: Path) -> None:
    """The package's files, and what its scripts would do that can be done without running it."""
    _users(root, STATION_RECIPE)
    parts.run("dpkg-deb", "-x", deb, root)
    parts.run(
        "/usr/bin/python3", "-m", "compileall", "-q", "-s", root, "-p", "/", root / "usr/lib/python3/dist-packages"
    )
    found = sorted((root / "usr/lib/systemd/system").glob("aquasmart*.*"))
    _enable(root, [path.name for path in found if path.is_file() and "[Install]" in path.read_text()])


def install_appliance_files(root: Path, work: Path) -> None:
    """aquasmart-config.bb's own do_install. Raises Unbuildable."""
    _task(CONFIG_RECIPE, "do_install", root, CONFIG_RECIPE.parent / "aquasmart-config", work)


def _appliance(root: Path, work: Path) -> None:
    _users(root, CONFIG_RECIPE)
    install_appliance_files(root, work)
    _enable(root, variables(CONFIG_RECIPE)["SYSTEMD_SERVICE:${PN}"].split())
    shutil.copy(COMMON_AUTH, root / "etc/pam.d/common-auth")


def install_rauc(root: Path, work: Path, keys: Keys) -> None:
    """rauc-conf.bbappend's own addition to do_install, after what meta-rauc's recipe does before it.

    `work`: a folder for what it is made of. Raises Unbuildable.
    """
    source = work / "rauc"
    source.mkdir()
    shutil.copy(HANDLER, source / "pre-install.sh")
    shutil.copy(keys.keyring, source / "keyring.pem")
    (root / "etc/rauc").mkdir(parents=True, exist_ok=True)
    shutil.copy(SYSTEM_CONF, root / "etc/rauc/system.conf")
    _task(RAUC_CONF, "do_install:append:aquasmart", root, source, work, {"RAUC_KEYRING_FILE": "keyring.pem"})


def _seal(root: Path) -> None:
    """What the image's features do: a root that is never written, no password, an identity made at first boot."""
    units = root / "etc/systemd/system"
    (units / "systemd-udevd.service").unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("")
    (root / "etc/fstab").write_text("")
    (root / "etc/hostname").write_text("aquasmart\n")
    # The image has nss-myhostname for it.
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 aquasmart\n")
    shadow = root / "etc/shadow"
    for line in shadow.read_text().splitlines():
        if line.split(":")[1][:1] not in {"*", "!"}:
            raise parts.Unbuildable(f"an account with a password, or without a lock: {line.split(':')[0]}")
    # What Debian starts that the image has not: seconds each on an emulated processor.
    for name in (
        *("e2scrub_reap.service", "e2scrub_all.timer", "apt-daily.timer", "apt-daily-upgrade.timer", "fstrim.timer"),
        *("dpkg-db-backup.timer", "rauc-mark-good.service", "NetworkManager-wait-online.service"),
        *(
            "systemd-update-utmp.service",
            "systemd-update-utmp-runlevel.service",
            "systemd-networkd-wait-online.service",
        ),
    ):
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    # A root that is read-only wants a /tmp in memory: systemd's own sandboxes are put together there.
    shutil.copy(root / "usr/share/systemd/tmp.mount", units)
    _enable(root, ["systemd-networkd.service", "tmp.mount"])


def _enable(root: Path, units: list[str]) -> None:
    parts.run("systemctl", f"--root={root}", "enable", *units)


def _task(recipe: Path, name: str, root: Path, source: Path, work: Path, more: dict[str, str] | None = None) -> None:
    """A shell task of a recipe, with its own words, by this machine's shell."""
    text = recipe.read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(name)}\(\) \{{\n(.*?)^\}}", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise parts.Unbuildable(f"{recipe.name} has no {name}")
    body = _filled(found[1], {"D": str(root), "S": str(source), "WORKDIR": str(source), **(more or {})})
    script = work / "task"
    script.write_text(f'bbfatal() {{ echo "$*" >&2; exit 1; }}\n{body}')
    parts.run("bash", "-eu", script, cwd=source)


def _filled(text: str, more: dict[str, str]) -> str:
    """BitBake's variables filled in, as far as the layer's tasks have any. KeyError for one that is not known here."""
    figures = layout()
    disk = figures["AQUASMART_DISK:qemuall"]
    known = PLACES | figures | {
        "AQUASMART_DISK": disk, "AQUASMART_DEV_A": f"{disk}{figures['AQUASMART_PART_A']}",
        "AQUASMART_DEV_B": f"{disk}{figures['AQUASMART_PART_B']}", "AQUASMART_COMPATIBLE": COMPATIBLE,
        "AQUASMART_ENV_COPIES": figures["AQUASMART_ENV_COPIES:qemuall"], "AQUASMART_BOOT_GOOD": GOOD,
        "AQUASMART_BOOT_TRIES": TRIES, "AQUASMART_IMAGE_VERSION": VERSION, "AQUASMART_BUNDLE_NUMBER": NUMBER,
    } | more  # fmt: skip
    return re.sub(r"\$\{(\w+)\}", lambda match: known[match[1]], text)


def _boot_script() -> str:
    """The layer's script for this board; the kernel here wants an initrd, which the image's own does not."""
    text = boot_script()
    tree = WORDS["FDT"]
    start = "booti ${kernel_addr_r} - ${aq_fdt}"
    if text.count(start) != 1 or text.count(tree) != 1:
        raise parts.Unbuildable("the boot script starts its kernel in another way than this stand-in knows")
    load = "load virtio 0:${aq_part} ${ramdisk_addr_r} /boot/initrd"
    text = text.replace(tree, f"{tree}\n      {load}")
    return text.replace(start, "booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${aq_fdt}")


def _write_card(target: Path, slot: Path, work: Path) -> None:
    """boot | A | B | data, by the class's figures, as the .wks says."""
    figures = layout()
    script, compiled, boot, data = (work / name for name in ("boot.cmd", "boot.scr", "boot.fat", "data.ext4"))
    script.write_text(_boot_script())
    parts.run("mkimage", "-A", "arm64", "-T", "script", "-C", "none", "-d", script, compiled)
    boot_mib, slot_mib, data_mib = (int(figures[f"AQUASMART_{name}_MIB"]) for name in ("BOOT", "SLOT", "DATA"))
    parts.run("truncate", f"--size={boot_mib}M", boot)
    parts.run("mkfs.vfat", "-n", figures["AQUASMART_LABEL_BOOT"], boot)
    parts.run("mcopy", "-i", boot, compiled, "::boot.scr")
    parts.run("mke2fs", "-q", "-t", "ext4", "-m", "1", "-L", figures["AQUASMART_LABEL_DATA"], data, f"{data_mib}M")
    at = int(figures["AQUASMART_FIRST_ALIGN_KIB"]) // 1024
    table = b""
    with target.open("wb") as card:
        for kind, mib, image in (
            (0x0C, boot_mib, boot),
            (0x83, slot_mib, slot),
            (0x83, slot_mib, slot),
            (0x83, data_mib, data),
        ):
            active = 0x80 if kind == 0x0C else 0
            table += struct.pack("<B3sB3sII", active, b"\0\0\0", kind, b"\0\0\0", at * _MIB // 512, mib * _MIB // 512)
            parts.run("dd", f"if={image}", f"of={target}", "bs=1M", "conv=sparse,notrunc", f"seek={at}", "status=none")
            at += mib
        card.seek(0)
        card.write(b"\0" * 446 + table + b"\x55\xaa")
        card.truncate(at * _MIB)
