"""What the program `rauc` says of a bundle: its signature verified against a keyring, and its manifest.

The program is asked, never trusted with more than reading: it gets a file and a keyring, and answers in JSON. A machine
without it has nothing to say here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from aquasmart_cloud.core.rauc_form import NoBundle
from aquasmart_cloud.core.rollouts import Facts

PROGRAM = "rauc"
PATIENCE_S = 120.0


def read_facts(bundle: Path, keyring: Path) -> Facts | None:
    """Version, number (`build` of the manifest) and compatible; None where the program is not installed.

    Errors: NoBundle where the signature does not hold, or the manifest says too little.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        return None
    command = [program, "info", f"--keyring={keyring}", "--output-format=json", str(bundle)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as fault:
        raise NoBundle("rauc did not come to an end with this bundle", "try 'rauc info' on it by hand") from fault
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoBundle(
            f"rauc does not accept this bundle: {said[-1][:300] if said else done.returncode}", "sign it anew"
        )
    try:
        document = json.loads(done.stdout[done.stdout.index(b"{") :])
        # Newer versions of the program put the manifest's section into one of its own.
        update = document["update"] if isinstance(document.get("update"), dict) else document
        return Facts(str(update["version"]), int(update["build"]), str(update["compatible"]))
    except (ValueError, TypeError, KeyError) as fault:
        raise NoBundle(
            "the bundle's manifest lacks version, build (its number) or compatible", "see 'rauc info' of the file"
        ) from fault
