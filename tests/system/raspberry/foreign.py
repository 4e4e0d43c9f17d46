"""A Debian for another architecture, out of the one that the containers boot: no program of it is run to make it.

Debian's packages are the same configuration everywhere: users, enabled units, certificates and byte code do not depend
on the processor. So the configured Debian of this machine's architecture is copied, every package that has compiled
parts is replaced by the same package for the other architecture, files and entry in dpkg's books, and what is left is
a Debian of that architecture on which dpkg goes on by itself. A whole installation under an emulated processor takes
five minutes and a change of the host (binfmt); this takes one and none.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.system.emulated import parts
from tests.system.emulated.parts import run
from tests.system.rootfs import LEFT_OUT, cache_folder, debian, release_name, sources


class Apt:
    """The host's package sources, seen by a machine of another architecture, in a folder of its own."""

    def __init__(self, architecture: str) -> None:
        self.architecture = architecture
        self._folder = cache_folder() / f"apt-{architecture}"

    @property
    def options(self) -> tuple[str, ...]:
        settings = {
            "APT::Architecture": self.architecture,
            "APT::Architectures::": self.architecture,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Dir::State": self._folder / "state",
            "Dir::State::status": self._folder / "status",
            "Dir::Cache": self._folder / "cache",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self._folder / "sources",
        }
        return tuple(f"-o{name}={value}" for name, value in settings.items())

    def update(self) -> None:
        """Read the sources' lists."""
        for name in ("state/lists/partial", "cache/archives/partial", "sources"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "status").touch()
        listed = sources(release_name())
        if not listed:
            raise parts.Unbuildable(f"this machine's package sources have no {release_name()}")
        for path in listed:
            shutil.copy(path, self._folder / "sources")
        run("apt-get", *self.options, "-qq", "update")

    def download(self, packages: list[str], folder: Path) -> list[Path]:
        """The newest of each."""
        folder.mkdir(parents=True)
        run("apt-get", *self.options, "-qq", "download", *packages, cwd=folder)
        return sorted(folder.glob("*.deb"))


def foreign_debian(apt: Apt, *more: str) -> Path:
    """The folder of a Debian for `apt`'s architecture, with `more` packages; never to be booted itself.

    Raises Unbuildable, NoRootfs.
    """
    base = debian(None, *more)
    target = cache_folder() / f"{base.name}-{apt.architecture}-{parts.digest(Path(__file__).read_text())}"
    if not target.exists():
        for former in cache_folder().glob(f"{base.name}-{apt.architecture}-*"):
            shutil.rmtree(former)
        apt.update()
        made = parts.fresh(target)
        run("cp", "-a", "--reflink=auto", f"{base}/.", made)
        compiled = list(_compiled(made))
        debs = apt.download([name for name, _ in compiled], made.with_name(f"{made.name}.debs"))
        for name, qualified in compiled:
            _take_out(made, name, qualified)
        books = {_field(control, "Package"): control for control in (_put_in(made, deb) for deb in debs)}
        _enter(made / "var/lib/dpkg/status", books)
        shutil.rmtree(debs[0].parent)
        # A cache of where libraries are, in the other processor's words. Debian's own folders are searched without it.
        (made / "etc/ld.so.cache").unlink(missing_ok=True)
        # Byte code is the same everywhere, but for modules whose times differ: an emulated processor needs minutes.
        run("/usr/bin/python3", "-m", "compileall", "-q", "-s", made, "-p", "/", *made.glob("usr/lib/python3*"))
        made.rename(target)
    return target


def _compiled(root: Path) -> Iterator[tuple[str, str]]:
    """Packages with compiled parts: name, and the name of their files in dpkg's folder."""
    shown = run("dpkg-query", "--admindir", root / "var/lib/dpkg", "-W", "-f", "${Architecture} ${Package}\n")
    for architecture, name in map(str.split, shown.splitlines()):
        if architecture != "all":
            both = root / f"var/lib/dpkg/info/{name}:{architecture}.list"
            yield name, f"{name}:{architecture}" if both.exists() else name


def _take_out(root: Path, name: str, qualified: str) -> None:
    """A package's files, and what dpkg knows of them. Folders stay: others may have files there."""
    info = root / "var/lib/dpkg/info"
    for line in (info / f"{qualified}.list").read_text().splitlines():
        path = root / line.lstrip("/")
        # Not a link to a folder: /bin is one. And through a link out of the tree, a file of the host would be meant.
        if path.parent.resolve().is_relative_to(root) and not path.is_dir() and (path.is_symlink() or path.exists()):
            path.unlink()
    # By the whole name: `python3.*` would be `python3.11.list`, too.
    for path in [path for path in info.glob(f"{qualified}.*") if path.stem == qualified]:
        path.unlink()


def _put_in(root: Path, deb: Path) -> str:
    """A package's files, as dpkg unpacks them; its control file's text."""
    files = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], check=True, capture_output=True).stdout
    left_out = [f"--exclude=.{pattern}" for pattern in LEFT_OUT]
    # --keep-directory-symlink: /bin is a link to /usr/bin, and packages still have files in /bin.
    unpack = ["tar", "--extract", "--file=-", f"--directory={root}", "--keep-directory-symlink", "--same-owner"]
    subprocess.run([*unpack, "--preserve-permissions", *left_out], input=files, check=True)
    listed = subprocess.run(["tar", "--list", "--file=-"], input=files, check=True, capture_output=True, text=False)
    control_files = deb.with_suffix(".control")
    run("dpkg-deb", "--control", deb, control_files)
    control = (control_files / "control").read_text()
    same = _field(control, "Multi-Arch") == "same"
    name = _field(control, "Package") + (f":{_field(control, 'Architecture')}" if same else "")
    info = root / "var/lib/dpkg/info"
    for path in control_files.iterdir():
        if path.name != "control":  # its text stands in dpkg's status
            shutil.copy(path, info / f"{name}.{path.name}")
    names = [line.removeprefix(".").rstrip("/") or "/." for line in listed.stdout.decode().splitlines()]
    (info / f"{name}.list").write_text("".join(f"{each}\n" for each in names))
    return control


def _enter(status: Path, books: dict[str, str]) -> None:
    """The new packages in the place of the old ones in dpkg's status."""
    entries = []
    for former in status.read_text().strip().split("\n\n"):
        head, _, rest = books.get(_field(former, "Package"), "").strip().partition("\n")
        entries.append(f"{head}\nStatus: install ok installed\n{rest}" if head else former)
    status.write_text("\n\n".join(entries) + "\n\n")


def _field(control: str, name: str) -> str:
    return next((line.partition(": ")[2] for line in control.splitlines() if line.startswith(f"{name}: ")), "")
