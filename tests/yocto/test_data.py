"""The data partition's scripts on a real disk: grown while it is mounted, mended before it is, its folders' owners."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .appliance import FILES, Appliance, appliance
from .recipes import layout

pytestmark = pytest.mark.needs("loop", "partx")
MIB = 1024 * 1024
CARD_MIB = 400
"""Of the slots only the places matter here: 8 MiB each."""
SCRIPTS = FILES / "scripts"
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def run(*words: str | Path, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, env=os.environ | {"PATH": PATH}, input=stdin
    )
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done


@contextmanager
def card(folder: Path) -> Iterator[tuple[str, Path]]:
    """A card as flashed, with a data partition of 64 MiB and room behind it: the partition's device and mount point."""
    image, place = folder / "card.img", folder / "data"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(CARD_MIB * MIB)
    run(
        "sfdisk",
        "--quiet",
        image,
        stdin="label: dos\nstart=8192,size=16384,type=c\nsize=16384\nsize=16384\nsize=131072\n",
    )
    # partx tells the kernel of the partitions: one in a container may know no kind of table itself.
    device = run("losetup", "--find", "--show", image).stdout.strip()
    try:
        run("partx", "--add", device)
        part = f"{device}p{layout()['AQUASMART_PART_DATA']}"
        if not Path(part).exists():
            # No udev here: the kernel knows the partition, the node is ours to make.
            major, minor = Path(f"/sys/class/block/{Path(part).name}/dev").read_text().split(":")
            run("mknod", part, "b", major, minor.strip())
        run("mkfs.ext4", "-q", "-L", layout()["AQUASMART_LABEL_DATA"], "-m", "1", part)
        yield part, place
    finally:
        run("umount", place, check=False)
        run("partx", "--delete", device, check=False)
        run("losetup", "--detach", device, check=False)


def grow(part: str, place: Path) -> str:
    """Run data-grow; what it said.

    Growing a mounted ext4 needs CAP_SYS_RESOURCE, which a sandbox may not have: there the partition is grown under the
    mounted file system all the same, and the file system itself once it is not mounted.
    """
    done = run(SCRIPTS / "data-grow", place, check=False)
    if done.returncode and "Permission denied to resize" in done.stderr:
        run("umount", place)
        run("e2fsck", "-f", "-p", part, check=False)
        run("resize2fs", part)
        run("mount", part, place)
        return done.stdout
    assert done.returncode == 0, done.stderr
    return done.stdout


def size_mib(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_blocks * found.f_frsize // MIB


def test_it_grows_to_the_end_of_the_card_while_it_is_written(tmp_path: Path) -> None:
    with card(tmp_path) as (part, place):
        run("mount", "-o", "commit=5,errors=remount-ro", part, place)
        (place / "log.db").write_bytes(b"counted" * 1000)
        before = size_mib(place)
        assert "grows by" in grow(part, place)
        assert before < 64 < CARD_MIB * 0.8 < size_mib(place)
        assert (place / "log.db").read_bytes() == b"counted" * 1000
        # The others have not moved, and a second run finds nothing to do.
        table = run("sfdisk", "--dump", part.rpartition("p")[0]).stdout
        again = run(SCRIPTS / "data-grow", place)
        assert "grows by" not in again.stdout
        assert run("sfdisk", "--dump", part.rpartition("p")[0]).stdout == table
        assert "start=        8192, size=       16384" in table
        run("umount", place)
        assert run("e2fsck", "-f", "-n", part).returncode == 0


def test_a_run_that_was_cut_after_the_table_goes_on(tmp_path: Path) -> None:
    """The partition is large, its file system not yet: as after a cut between the two."""
    with card(tmp_path) as (part, place):
        disk, number = part.rpartition("p")[0], part.rpartition("p")[2]
        run(
            "sfdisk",
            "--quiet",
            "--no-reread",
            "--no-tell-kernel",
            "-N",
            number,
            disk,
            stdin=f", {(CARD_MIB - 40) * 2048}\n",
        )
        run("partx", "--update", "--nr", number, disk)
        run("mount", part, place)
        assert size_mib(place) < 64
        assert "grows by" not in grow(part, place)
        assert size_mib(place) > CARD_MIB * 0.8


def test_what_is_wrong_with_it_is_mended_before_it_is_mounted(tmp_path: Path) -> None:
    with card(tmp_path) as (part, place):
        run("mount", part, place)
        for number in range(200):
            (place / f"file{number}").write_bytes(b"x" * 5000)
        run("umount", place)
        # Bitmaps and a piece of the inode table as a dying card leaves them: `e2fsck -p` refuses, and says so by 4.
        run("debugfs", "-w", "-R", "set_inode_field file7 mode 0", part)
        run("debugfs", "-w", "-R", "clri <2>", part)
        assert run("e2fsck", "-n", "-f", part, check=False).returncode & 4
        run("tune2fs", "-E", "force_fsck", part)
        said = run(SCRIPTS / "data-check", part)
        assert "mending without asking" in said.stderr
        assert run("e2fsck", "-n", "-f", part, check=False).returncode == 0
        run("mount", part, place)


def test_a_sound_one_is_left_alone(tmp_path: Path) -> None:
    with card(tmp_path) as (part, place):
        said = run(SCRIPTS / "data-check", part)
        assert "mending" not in said.stderr
        run("mount", part, place)


@pytest.mark.needs("netns", "mount-namespace")
def test_its_folders_have_their_owners_and_a_machine_its_own_names(tmp_path: Path) -> None:
    def owner(here: Appliance, place: str) -> tuple[str, str]:
        user, mode = here.run("stat", "--format=%U:%G %a", place).stdout.split()
        return user, mode

    with appliance(tmp_path / "one") as here:
        here.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        here.run("/usr/libexec/aquasmart/data-folders", "/data")
        here.run("/usr/libexec/aquasmart/identity", "/data")
        assert owner(here, "/data/aquasmart") == ("aquasmart:aquasmart", "2750")
        assert owner(here, "/data/aquasmart/ops") == ("aquasmart:aquasmart", "2770")
        assert owner(here, "/data/aquasmart-update") == ("root:root", "711")
        assert owner(here, "/data/ssh/ssh_host_ed25519_key") == ("root:root", "600")
        first = here.run("cat", "/data/identity/machine-id", "/data/ssh/ssh_host_ed25519_key.pub").stdout
        assert first.startswith("0123456789abcdef0123456789abcdef\n")
        # The next boot made up another one; what is kept stays. Half a key, after a cut, is made anew.
        here.write("/etc/machine-id", "f" * 32 + "\n")
        here.run("/usr/libexec/aquasmart/identity", "/data")
        assert here.run("cat", "/data/identity/machine-id", "/data/ssh/ssh_host_ed25519_key.pub").stdout == first
        here.run("sh", "-c", ": >/data/ssh/ssh_host_ed25519_key")
        here.run("/usr/libexec/aquasmart/identity", "/data")
        assert here.run("ssh-keygen", "-y", "-f", "/data/ssh/ssh_host_ed25519_key").returncode == 0
        target = here.run("readlink", "/data/etc/aquasmart/image.json").stdout.strip()
        assert target == "/usr/share/aquasmart/image.json"
    assert stat.S_ISDIR((tmp_path / "one").stat().st_mode)
