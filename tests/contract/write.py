"""`python -m tests.contract.write`: the vector files of tests/contract/v1, from the reference implementation.

For a *new* vector. A released one never changes: other implementations have been tested against it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.contract import encoding_cases, pricing_cases, sequence_cases, signing_cases, verdict_cases

FOLDER = Path(__file__).parent / "v1"

FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "signing.json": signing_cases.vectors,
    "pricing.json": pricing_cases.vectors,
    "encoding.json": encoding_cases.vectors,
    "verdicts.json": verdict_cases.vectors,
    "sequences.json": sequence_cases.vectors,
}


def text_of(vectors: dict[str, Any]) -> str:
    """One case a line, so that a difference between two versions shows the case and nothing else."""
    cases = ",\n".join(json.dumps(case, ensure_ascii=False) for case in vectors["cases"])
    return f'{{"description": {json.dumps(vectors["description"], ensure_ascii=False)}, "cases": [\n{cases}\n]}}\n'


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, make in FILES.items():
        (FOLDER / name).write_text(text_of(make()), encoding="utf-8")


if __name__ == "__main__":
    main()
