"""Which of Python's packages the station needs on an image, where python3 is cut into forty: by its own imports."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

from .recipes import REPOSITORY, STATION_RECIPE, variables

BUILT_IN = set(sys.builtin_module_names) | {"__future__", "faulthandler"}
SOURCES = REPOSITORY / "station/src/aquasmart_station"


def imported(folder: Path = SOURCES) -> set[str]:
    """The modules of the standard library that a folder's files import, dotted where they say so."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return {name for name in found if name.partition(".")[0] in sys.stdlib_module_names}


def manifest(poky: Path) -> dict[str, list[str]]:
    """Package → files, of poky's list."""
    text = (poky / "meta/recipes-devtools/python/python3/python3-manifest.json").read_text(encoding="utf-8")
    # It begins with a comment, which JSON does not have.
    document = json.loads(text[text.index("\n{") :])
    return {name: entry["files"] + entry.get("cached", []) for name, entry in document.items()}


def package_of(module: str, packages: dict[str, list[str]]) -> str:
    """The package that holds a module; `misc`, which takes what no other names."""
    top, _, rest = module.partition(".")
    stems = [f"{top}/{rest.replace('.', '/')}"] if rest else []
    for stem in [*stems, top]:
        for name, files in packages.items():
            for file in files:
                place = file.removeprefix("${libdir}/python${PYTHON_MAJMIN}/").removeprefix("lib-dynload/")
                if place in (stem, f"{stem}.py", f"{stem}/__init__.py") or place.startswith(f"{stem}.*.so"):
                    return name
    return "misc"


def missing(poky: Path) -> list[str]:
    """What the recipe does not depend on and the station imports; empty is good."""
    packages = manifest(poky)
    named = set(variables(STATION_RECIPE)["RDEPENDS:${PN}"].split())
    return sorted(
        f"python3-{package} (for {module})"
        for module in imported()
        if module.partition(".")[0] not in BUILT_IN
        for package in [package_of(module, packages)]
        if f"python3-{package}" not in named
    )
