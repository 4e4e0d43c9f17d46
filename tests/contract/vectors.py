"""Reads the vector files, for every test that runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "v1"


def load(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def cases(name: str, *flags: str) -> list[Any]:
    """The cases of a file that carry all of `flags`, as pytest parameters named after them."""
    chosen = [case for case in load(name)["cases"] if set(flags) <= set(case["flags"])]
    assert chosen, f"no case of {name} has {flags}"
    return [pytest.param(case, id=case["name"]) for case in chosen]
