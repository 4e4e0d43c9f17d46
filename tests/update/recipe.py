"""The boot script as the layer's recipe makes it for a board: variables by BitBake's rules, `sed` run by the shell.

As much of BitBake as the recipe uses: overrides by a board's names, `${VARIABLE}`; `${@…}` is given by the caller.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.update.uboot import RECIPE, SCRIPT

LAYOUT = {
    "AQUASMART_PART_A": "2", "AQUASMART_PART_B": "3", "AQUASMART_ENV_SIZE": "0x10000", "AQUASMART_BOOT_GOOD": "9",
    "AQUASMART_BOOT_TRIES": "3", "AQUASMART_ENV_BLOCKS": "0x800 0x80",
}  # fmt: skip
"""Of the classes that the recipe inherits."""
_ASSIGNED = re.compile(r"^([A-Z_]+)((?::[a-z0-9-]+)*) = (['\"])(.*)\3$")
_EXPANDED = re.compile(r"\$\{([A-Z_]+)\}")


def boot_cmd(folder: Path, overrides: tuple[str, ...], given: Mapping[str, str]) -> str:
    """The text of boot.cmd. `overrides`: the board's names, the strongest last; `given`: what others define."""
    text = RECIPE.read_text().replace("\\\n", "")
    values: dict[str, tuple[int, str]] = {}
    for line in text.splitlines():
        found = _ASSIGNED.match(line)
        if found is None:
            continue
        names = [name for name in found[2].split(":") if name]
        strength = max((overrides.index(name) for name in names), default=-1) if set(names) <= set(overrides) else None
        if strength is not None and strength >= values.get(found[1], (-1, ""))[0]:
            values[found[1]] = strength, found[4]
    known = {name: value for name, (_, value) in values.items()} | dict(given) | {"WORKDIR": str(SCRIPT.parent)}

    def expand(value: str) -> str:
        return _EXPANDED.sub(lambda match: expand(known[match[1]]), value)

    body = re.search(r"^do_compile\(\) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    sed = expand(next(line for line in body[1].splitlines() if line.strip().startswith("sed ")))
    done = subprocess.run(["sh", "-ec", sed], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (folder / "boot.cmd").read_text()
