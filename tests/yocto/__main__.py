"""`make yocto-check ROOT=…`: the layer on real checkouts, for each machine; the summary goes to docs/yocto-check.md.

Each stage of check-layer.sh, and beside them what needs no bitbake: Python's packages, the disk layout by wic. What was
not run is said, and why: a check that could not be made is no check that passed. Exit status: 0 all ran and passed,
1 something failed, 2 something was not run. `--go-on` keeps what former runs said of other machines and stages.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from . import disk, modules
from .recipes import REPOSITORY

MACHINES = ("qemuarm64", "raspberrypi4-64", "beaglebone-yocto")
STAGES = ("parse", "env", "graph", "dryrun", "recipes", "checklayer")
ALONE = ("modules", "wic")
CHECKOUTS = ("poky", "meta-openembedded", "meta-rauc", "meta-raspberrypi")
TELLS = {
    "parse": "every recipe and append parses",
    "env": "the image's variables can be expanded",
    "graph": "every dependency has a provider, for both images",
    "dryrun": "the task list of the image, to the last task",
    "recipes": "unpack … package_qa of our own recipes, with the host's Python",
    "checklayer": "yocto-check-layer, the official compliance test",
    "modules": "each module that the station imports is in a package that its recipe asks for",
    "wic": "wic writes the disk; table, sizes, labels and the gap are as the class says",
}
HOST = {
    **{name: name for name in ("chrpath", "cpio", "diffstat", "file", "gawk", "gcc", "make", "socat", "unzip", "wget")},
    "lz4c": "lz4",
    "makeinfo": "texinfo",
    "zstd": "zstd",
}
"""What bitbake looks for on the machine it runs on, and Debian's package of it."""
RECIPES_HOST = {"/usr/bin/pseudo": "pseudo"}
SETUPTOOLS = 68
"""What the station's pyproject.toml asks for; the host's venv (HV) stands for python3-native here."""
BOOT_FILES = {
    "raspberrypi": ["bootcode.bin", "config.txt", "kernel8.img", "boot.scr"],
    "beaglebone": ["MLO", "u-boot.img", "boot.scr"],
    "qemu": ["boot.scr"],
}


@dataclass(frozen=True)
class Result:
    machine: str
    stage: str
    verdict: str
    """`passed`, `FAILED (…)` or `not run: …`."""
    seconds: str = ""


def commits(root: Path) -> dict[str, str]:
    """What each checkout is at: by git, else by the file NAME.commit that who unpacked an archive left there."""
    found = {}
    for name in CHECKOUTS:
        if not (root / name).is_dir():
            continue
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", str(root / name), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
        )
        beside = root / f"{name}.commit"
        inside = (root / name / ".git").exists()
        found[name] = done.stdout.strip() if inside else beside.read_text().strip() if beside.exists() else "unknown"
    return found


def lacking(stages: list[str], work: Path) -> list[str]:
    """What this machine must get before these stages can say anything; a line for each remedy."""
    host = HOST if set(stages) & set(STAGES) else {}
    host = host | (RECIPES_HOST if "recipes" in stages else {})
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    packages = sorted({package for name, package in host.items() if not shutil.which(name, path=path)})
    remedies = [f"apt-get install {' '.join(packages)}"] if packages else []
    if "recipes" in stages:
        hv = Path(os.environ.get("HV", work / "hv"))
        asked = "import setuptools, build, wheel, installer; print(setuptools.__version__)"
        try:
            said = subprocess.run([hv / "bin/python", "-c", asked], capture_output=True, text=True)
        except OSError:
            said = None
        if said is None or said.returncode or int(said.stdout.partition(".")[0]) < SETUPTOOLS:
            wanted = f"build wheel installer 'setuptools>={SETUPTOOLS}'"
            remedies.append(f"python3 -m venv {hv} && {hv}/bin/pip install {wanted}")
    return remedies


def with_bitbake(root: Path, machine: str, stages: list[str]) -> list[Result]:
    environment = os.environ | {"ROOT": str(root), "STAGES": " ".join(stages)}
    script = Path(__file__).with_name("check-layer.sh")
    results: list[Result] = []
    with subprocess.Popen(
        ["bash", str(script), machine], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            sys.stdout.write(f"{machine}: {line}")
            sys.stdout.flush()
            words = line.split()
            if len(words) >= 4 and words[0] in STAGES:
                verdict = "passed" if words[1] == "PASS" else f"FAILED {words[1].removeprefix('FAIL')}"
                results.append(Result(machine, words[0], verdict, words[2]))
    done = {result.stage for result in results}
    return results + [Result(machine, stage, "not run: bitbake did not start") for stage in stages if stage not in done]


def alone(root: Path, machine: str, stages: list[str]) -> list[Result]:
    results = []
    if "modules" in stages:
        lacking = modules.missing(root / "poky")
        results.append(Result(machine, "modules", f"FAILED ({', '.join(lacking)})" if lacking else "passed"))
    if "wic" in stages:
        results.append(Result(machine, "wic", _disk(root, machine)))
    for result in results:
        print(f"{machine}: {result.stage:11} {result.verdict}")
    return results


def _disk(root: Path, machine: str) -> str:
    absent = disk.lacking()
    if absent:
        return (
            f"not run: this machine lacks {', '.join(absent)}: apt-get install parted dosfstools mtools fdisk e2fsprogs"
        )
    files = next(names for prefix, names in BOOT_FILES.items() if machine.startswith(prefix))
    with tempfile.TemporaryDirectory(prefix="aquasmart-wic-") as scratch:
        try:
            image = disk.write_disk(root / "poky", machine, Path(scratch), files)
        except subprocess.CalledProcessError as fault:
            return f"FAILED ({(fault.stderr or fault.stdout).strip().splitlines()[-1]})"
        told = disk.faults(disk.partitions(image))
    return f"FAILED ({'; '.join(told)})" if told else "passed"


def merged(kept: Path, results: list[Result]) -> list[Result]:
    """What was said before, renewed: a whole run takes an hour and may be done in parts."""
    former = [Result(**entry) for entry in json.loads(kept.read_text())] if kept.exists() else []
    by_place = {(result.machine, result.stage): result for result in [*former, *results]}
    return list(by_place.values())


def report(results: list[Result], found: dict[str, str]) -> str:
    machines = [name for name in MACHINES if any(result.machine == name for result in results)]
    machines += sorted({result.machine for result in results} - set(machines))
    by_place = {(result.machine, result.stage): result for result in results}
    lines = [
        "# What `make yocto-check` said\n",
        "Written by `make yocto-check ROOT=…`; do not edit. Nothing is compiled for a board by it: what is and is not",
        "verified is in [yocto-layer/README.md](../yocto-layer/README.md).\n",
        "| layer | commit |\n|---|---|",
        *(f"| {name} | `{commit}` |" for name, commit in found.items()),
        f"\n| stage | tells that | {' | '.join(machines)} |",
        f"|---|---|{'---|' * len(machines)}",
    ]
    for stage in (*STAGES, *ALONE):
        cells = []
        for machine in machines:
            result = by_place.get((machine, stage))
            cells.append("not run" if result is None else result.verdict)
        lines.append(f"| {stage} | {TELLS[stage]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Check yocto-layer/ on real checkouts of the layers it builds on.")
    parser.add_argument("--root", type=Path, help="folder with poky, meta-openembedded, meta-rauc, meta-raspberrypi")
    parser.add_argument("--machines", nargs="+", default=list(MACHINES))
    parser.add_argument("--stages", nargs="+", default=[*STAGES, *ALONE], choices=[*STAGES, *ALONE])
    parser.add_argument("--go-on", action="store_true", help="keep what former runs said of other machines and stages")
    parser.add_argument("--report", type=Path, default=REPOSITORY / "docs/yocto-check.md")
    arguments = parser.parse_args()
    root: Path | None = arguments.root
    needed = {"poky", "meta-openembedded", "meta-rauc"}
    absent = sorted(needed if root is None else {name for name in needed if not (root / name).is_dir()})
    if root is None or absent:
        print(
            f"NOT RUN: no checkout of {', '.join(absent)} at scarthgap. Which commits: yocto-layer/kas/lock.yml; then"
        )
        print("make yocto-check ROOT=FOLDER. Without them `make test` runs what needs none (tests/yocto).")
        return 2
    if remedies := lacking(arguments.stages, root / "check"):
        print("NOT RUN: this machine lacks what the checks work with:", *remedies, sep="\n  ")
        return 2
    results: list[Result] = []
    for machine in arguments.machines:
        if machine.startswith("raspberrypi") and not (root / "meta-raspberrypi").is_dir():
            why = "not run: no checkout of meta-raspberrypi"
            print(f"{machine}: {why}")
            results += [Result(machine, stage, why) for stage in arguments.stages]
            continue
        results += (
            with_bitbake(root, machine, wanted) if (wanted := [s for s in arguments.stages if s in STAGES]) else []
        )
        results += alone(root, machine, arguments.stages)
    kept = root / "check/results.json"
    whole = merged(kept, results) if arguments.go_on else results
    kept.write_text(json.dumps([asdict(result) for result in whole], indent=1), encoding="utf-8")
    arguments.report.write_text(report(whole, commits(root)), encoding="utf-8")
    print(f"summary: {arguments.report}")
    if any(result.verdict.startswith("FAILED") for result in results):
        return 1
    return 2 if any(result.verdict.startswith("not run") for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
