"""`python -m tests.lint`: every finding on its own line, exit status 1 if there is one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from aquasmart_cloud.store.schema import metadata

from . import matrix, modules, places, secrets, tables, words
from .tree import Finding, SourceFile, files

ROOT = Path(__file__).resolve().parents[2]

FILE_RULES: tuple[Callable[[SourceFile], Iterable[Finding]], ...] = (
    secrets.compared_in_one_place,
    secrets.never_in_environment,
    modules.short_enough,
    modules.named_by_content,
    modules.no_floats_in_core,
    places.no_machine_paths,
    places.no_registry_hosts,
    tables.writers_in_sql,
    words.marked_in_code,
    words.marked_on_pages,
)


def findings(root: Path) -> Iterator[Finding]:
    """Everything the rules find in the tree and in the schema."""
    for file in files(root):
        for rule in FILE_RULES:
            yield from rule(file)
    yield from matrix.mapped(root)
    yield from words.catalogues()
    yield from tables.writers_in_schema(metadata)
    yield from tables.keyed_by_station(metadata)


def main() -> int:
    found = list(findings(ROOT))
    for finding in found:
        print(finding)
    for row in [] if found else matrix.waiting(ROOT):
        print(f"tests/matrix.toml: {row}")
    if found:
        print(f"tests/lint: {len(found)} finding{'s' if len(found) != 1 else ''}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
