"""Makes the Debian packages out of the working tree: `python -m deploy.deb.build station|cloud --out FOLDER`.

`--python 3.13` makes the cloud's package for a Debian with that Python (13), on any machine of the same architecture.

What is in a package is decided here and in the folders beside this file (maintainer scripts, overrides); units come
from `systemd/`, the only copy, and from `deploy/systemd/`. The same tree gives the same bytes: every time is the last
commit's, every owner is root, names are sorted by dpkg-deb.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from email.utils import formatdate
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
MAINTAINER = "AquaSmart maintainers <packages@aquasmart.example>"
SITE = "usr/lib/python3/dist-packages"
BUNDLE = "usr/lib/aquasmart-cloud"
STATION_COMMAND = """\
#!/usr/bin/python3 -I
# Isolated: neither the environment nor a home folder decides what a station runs.
from aquasmart_station.cli.entry import main

main()
"""
GUNICORN = """\
#!/usr/bin/python3 -I
# What the package brings stands before what Debian has: docs/decisions/0042-appliance.md.
import sys

sys.path.insert(0, "/usr/lib/aquasmart-cloud")
from gunicorn.app.wsgiapp import run

run()
"""


class Tree:
    """A package's files, in a scratch folder."""

    def __init__(self, root: Path, package: str) -> None:
        self.root, self.package = root, package

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def copy(self, source: Path, name: str) -> None:
        self.write(name, source.read_text(encoding="utf-8"))

    def copy_package(self, source: Path, name: str) -> None:
        shutil.copytree(source, self.root / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))

    def compress(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))

    def installed_kib(self) -> int:
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file()) // 1024 + 1

    def finish(self, control: dict[str, str], out: Path, version: str, architecture: str) -> Path:
        """Control files, modes, times; the .deb."""
        doc = f"usr/share/doc/{self.package}"
        self.copy(HERE / "copyright", f"{doc}/copyright")
        self.compress(f"{doc}/changelog.gz", _changelog(self.package, version))
        overrides = HERE / self.package.removeprefix("aquasmart-") / "lintian-overrides"
        if overrides.exists():
            self.copy(overrides, f"usr/share/lintian/overrides/{self.package}")
        scripts = HERE / self.package.removeprefix("aquasmart-")
        for script in ("preinst", "postinst", "prerm", "postrm"):
            if (scripts / script).exists():
                self.write(f"DEBIAN/{script}", (scripts / script).read_text(), 0o755)
        fields = {
            "Package": self.package,
            "Version": version,
            "Architecture": architecture,
            "Maintainer": MAINTAINER,
            "Installed-Size": str(self.installed_kib()),
            **control,
        }
        self.write("DEBIAN/control", "".join(f"{key}: {value}\n" for key, value in fields.items()))
        for path in (self.root, *self.root.rglob("*")):
            if not path.is_symlink():
                executable = path.is_dir() or (path.stat().st_mode & 0o100 and ".so" not in path.suffixes)
                path.chmod(0o755 if executable else 0o644)
        out.mkdir(parents=True, exist_ok=True)
        target = out / f"{self.package}_{version}_{architecture}.deb"
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(_commit_time())}
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(self.root), str(target)],
            check=True, env=environment, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return target


def build_station(tree: Tree) -> tuple[dict[str, str], str]:
    """What the station's package holds; its control fields and architecture."""
    tree.copy_package(REPOSITORY / "station/src/aquasmart_station", f"{SITE}/aquasmart_station")
    tree.write("usr/bin/aquasmart", STATION_COMMAND, 0o755)
    # In the package, not only by tmpfiles.d: a card is provisioned in the writer's reader, before its first boot.
    (tree.root / "etc/aquasmart").mkdir(parents=True)
    # NetworkManager's, which may come later: the unit that provisions at boot may make files here, and no folders.
    (tree.root / "etc/NetworkManager/system-connections").mkdir(parents=True)
    units = REPOSITORY / "systemd"
    for unit in sorted(units.glob("aquasmart*.*")):
        if unit.suffix in {".service", ".socket", ".target", ".timer"}:
            tree.copy(unit, f"usr/lib/systemd/system/{unit.name}")
    tree.copy(units / "aquasmart.sysusers", "usr/lib/sysusers.d/aquasmart.conf")
    tree.copy(units / "aquasmart.tmpfiles", "usr/lib/tmpfiles.d/aquasmart.conf")
    tree.copy(units / "60-aquasmart.rules", "usr/lib/udev/rules.d/60-aquasmart.rules")
    tree.copy(REPOSITORY / "docs/technician.md", "usr/share/doc/aquasmart-station/technician.md")
    share = REPOSITORY / "station/share"
    tree.compress("usr/share/man/man1/aquasmart.1.gz", (share / "man/aquasmart.1").read_text(encoding="utf-8"))
    for name, place in (
        ("aquasmart.bash", "bash-completion/completions/aquasmart"),
        ("aquasmart.zsh", "zsh/vendor-completions/_aquasmart"),
        ("aquasmart.fish", "fish/vendor_completions.d/aquasmart.fish"),
    ):
        tree.copy(share / "completions" / name, f"usr/share/{place}")
    tree.copy(HERE / "station/station.toml", "usr/share/doc/aquasmart-station/examples/station.toml")
    tree.write("usr/lib/aquasmart-station/enable", "".join(f"{unit}\n" for unit in enabled_units()))
    control = {
        "Section": "net",
        "Priority": "optional",
        # Oldest versions that suffice: Debian 12's (and Raspberry Pi OS 12's).
        "Depends": "python3 (>= 3.11), python3-click (>= 8.1), python3-rich (>= 13), python3-sdnotify (>= 0.3.1), "
        "python3-serial (>= 3.5), python3-urllib3 (>= 1.26), python3-flask (>= 2.2), python3-waitress (>= 2.1), "
        "systemd (>= 252), udev, ca-certificates, "
        "init-system-helpers (>= 1.52)",
        "Description": "counts what a refill station dispenses\n"
        " Polls serial flow meters ten times a second, keeps a durable log, and gets\n"
        " every count to the cloud exactly once, over networks that are usually down.",
    }
    return control, "all"


def enabled_units() -> list[str]:
    """The units that an installation enables: those whose program this version has."""
    commands = (REPOSITORY / "station/src/aquasmart_station/cli/main.py").read_text(encoding="utf-8")
    units = ["aquasmart.target", "aquasmart-provision.service", "aquasmart-reader.service", "aquasmart-sync.service"]
    units += ["aquasmart-panel.socket"] if '"panel":' in commands else []
    return units + (["aquasmart-led.service"] if '"led":' in commands else [])


def build_cloud(tree: Tree, python: str) -> tuple[dict[str, str], str]:
    """What the cloud's package holds: everything it needs of Python beside the interpreter, in a folder of its own.

    `python`: version of the interpreter that it is for, as in "3.13". Wheels only: nothing compiled here could be for
    another one."""
    bundle = tree.root / BUNDLE
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    pip += ["--target", str(bundle), "--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    subprocess.run([*pip, "--require-hashes", "-r", str(REPOSITORY / "requirements/cloud.txt")], check=True)
    tree.copy_package(REPOSITORY / "cloud/src/aquasmart_cloud", f"{BUNDLE}/aquasmart_cloud")
    shutil.rmtree(bundle / "bin", ignore_errors=True)
    # Which file came from where on the machine that built this: nobody else's business.
    for name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
        for path in bundle.glob(f"*.dist-info/{name}"):
            path.unlink()
    for path in [*bundle.rglob("__pycache__"), *bundle.glob("*/tests"), *bundle.glob("sqlalchemy/testing")]:
        shutil.rmtree(path, ignore_errors=True)
    tree.write("usr/bin/aquasmart-cloud", (HERE / "cloud/command.py").read_text(encoding="utf-8"), 0o755)
    tree.write("usr/libexec/aquasmart-cloud/gunicorn", GUNICORN, 0o755)
    tree.copy(REPOSITORY / "deploy/gunicorn.conf.py", "usr/share/aquasmart-cloud/gunicorn.conf.py")
    units = REPOSITORY / "deploy/systemd"
    for unit in sorted(units.glob("*.service")):
        tree.copy(unit, f"usr/lib/systemd/system/{unit.name}")
    tree.copy(units / "aquasmart-cloud.sysusers", "usr/lib/sysusers.d/aquasmart-cloud.conf")
    tree.copy(units / "aquasmart-cloud.tmpfiles", "usr/lib/tmpfiles.d/aquasmart-cloud.conf")
    tree.copy(REPOSITORY / "deploy/nginx/aquasmart-cloud.conf", "etc/nginx/sites-available/aquasmart-cloud")
    tree.copy(HERE / "cloud/cloud.env", "etc/aquasmart-cloud/cloud.env")
    worker = (REPOSITORY / "cloud/src/aquasmart_cloud/cli_worker.py").exists()
    enable = ["aquasmart-cloud.service", *(["aquasmart-cloud-worker.service"] if worker else [])]
    tree.write("usr/share/aquasmart-cloud/enable", "".join(f"{unit}\n" for unit in enable))
    tree.write("DEBIAN/conffiles", "/etc/aquasmart-cloud/cloud.env\n/etc/nginx/sites-available/aquasmart-cloud\n")
    tree.copy(REPOSITORY / "docs/runbook.md", "usr/share/doc/aquasmart-cloud/runbook.md")
    major, minor = map(int, python.split("."))
    control = {
        "Section": "net",
        "Priority": "optional",
        # Compiled parts of the bundle are for one version of the interpreter: apt refuses them elsewhere.
        "Depends": f"python3 (>= {major}.{minor}), python3 (<< {major}.{minor + 1}), libc6 (>= 2.34), "
        "systemd (>= 252), ca-certificates, init-system-helpers (>= 1.52)",
        "Recommends": "nginx",
        "Suggests": "postgresql",
        "Description": "verifies, books and shows what AquaSmart stations count\n"
        " The cloud of AquaSmart: gunicorn behind nginx, and what runs on a clock, on\n"
        " SQLite or PostgreSQL.",
    }
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return control, architecture


def version_of(package: str) -> str:
    text = (REPOSITORY / package / f"src/aquasmart_{package}/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([0-9][0-9a-z.]*)"$', text, re.MULTILINE)
    assert found is not None
    return re.sub(r"\.?(dev|a|b|rc)", r"~\1", found[1])


def _commit_time() -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False
    )
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else int(time.time())


def _changelog(package: str, version: str) -> str:
    when = formatdate(_commit_time(), localtime=False).replace("-0000", "+0000")
    return f"{package} ({version}) unstable; urgency=medium\n\n  * CHANGELOG.md tells.\n\n -- {MAINTAINER}  {when}\n"


def _python(text: str) -> str:
    if not re.fullmatch(r"3\.[0-9]+", text):
        raise argparse.ArgumentTypeError(f"a version of Python as in 3.13, not {text!r}")
    return text


def main() -> None:
    """Build one package; print where it is."""
    parser = argparse.ArgumentParser(description="Make a Debian package.")
    parser.add_argument("package", choices=["station", "cloud"])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build/deb")
    parser.add_argument("--version", help="another version than the tree's (tests of upgrades)")
    own = ".".join(map(str, sys.version_info[:2]))
    parser.add_argument("--python", default=own, type=_python, help=f"whose Python the cloud's is for ({own})")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aquasmart-deb-") as scratch:
        tree = Tree(Path(scratch) / "root", f"aquasmart-{arguments.package}")
        tree.root.mkdir()
        version = arguments.version or version_of(arguments.package)
        if arguments.package == "station":
            control, architecture = build_station(tree)
        else:
            control, architecture = build_cloud(tree, arguments.python)
            # By name and number, too: two files of one folder, and the later Debian's counts as the newer.
            version = f"{version}+py{arguments.python}"
        print(tree.finish(control, arguments.out, version, architecture))


if __name__ == "__main__":
    main()
