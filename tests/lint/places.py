"""Places: nothing in the tree may name somebody's machine or the registry it installs from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .tree import Finding, SourceFile

# Written so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.${}~-])/(?:hom[e]/[a-z]|User[s]/[A-Za-z]|roo[t]/|wor[k]/|workspac[e]s?/|mn[t]/c/)")
REGISTRY = re.compile(
    r"pypi\.or[g]|pythonhosted\.or[g]|registry\.npmj[s]|artifactor[y]|/simpl[e]/|"
    r"(?:--(?:extra-)?inde[x]-url|--find-link[s]|--trusted-hos[t])[ =]\S+"
)


def no_machine_paths(file: SourceFile) -> Iterator[Finding]:
    """A path below one person's home works for nobody else."""
    yield from _matches(file, MACHINE_PATH, "machine-path", "is a path of one machine; make it relative")


def no_registry_hosts(file: SourceFile) -> Iterator[Finding]:
    """Where packages come from is each machine's own setting; pins carry hashes, not addresses."""
    yield from _matches(file, REGISTRY, "registry-host", "names a package registry; that is each machine's own setting")


def _matches(file: SourceFile, pattern: re.Pattern[str], rule: str, message: str) -> Iterator[Finding]:
    for number, line in enumerate(file.text.splitlines(), 1):
        match = pattern.search(line)
        if match:
            yield file.finding(number, rule, f"{match[0]!r} {message}")
