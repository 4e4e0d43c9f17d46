"""Reads what the layer's files say, without bitbake: enough of their syntax for lists of names. Judges nothing."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
LAYER = REPOSITORY / "yocto-layer"
STATION_RECIPE = next((LAYER / "recipes-aquasmart/aquasmart-station").glob("*.bb"))
CONFIG_RECIPE = next((LAYER / "recipes-aquasmart/aquasmart-config").glob("*.bb"))
AB_CLASS = LAYER / "classes-recipe/aquasmart-ab.bbclass"

_ASSIGNED = re.compile(
    r"^(?P<name>[A-Z][\w:${}.\[\]-]*)\s*(?P<how>\?\?=|\?=|:=|\+=|=\+|\.=|=\.|=)\s*\"(?P<value>[^\"]*)\"", re.MULTILINE
)


def variables(path: Path) -> dict[str, str]:
    """The assignments of a recipe, class or configuration file, in order; `+=` joined, continuation lines too."""
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for match in _ASSIGNED.finditer(text):
        name, value = match["name"], " ".join(match["value"].split())
        found[name] = f"{found[name]} {value}" if match["how"] == "+=" and name in found else value
    return found


def layout() -> dict[str, str]:
    """aquasmart-ab.bbclass's plain figures."""
    return {name: value for name, value in variables(AB_CLASS).items() if "${" not in value}


def functions(path: Path) -> str:
    """What stands in a file's shell functions, as text."""
    return "\n".join(
        re.findall(
            r"^do_\w+(?:[:\w-]*)\s*\(\)\s*\{\n(.*?)^\}", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    )
