"""The files that are ours: what git knows or would take, as text. Reading only; no rule lives here."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

PACKAGES = ("station/src/aquasmart_station/", "cloud/src/aquasmart_cloud/")


@dataclass(frozen=True)
class Finding:
    """One place that breaks one rule."""

    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class SourceFile:
    """One text file, by its path relative to the repository."""

    path: str
    text: str

    @property
    def pure_path(self) -> PurePosixPath:
        return PurePosixPath(self.path)

    @cached_property
    def syntax(self) -> ast.Module:
        """The parsed module, where it is Python. SyntaxError otherwise: ruff has said so more clearly by then."""
        return ast.parse(self.text, self.path)

    @property
    def python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def product(self) -> bool:
        """Whether it is installed on a station or a server."""
        return self.path.startswith(PACKAGES)

    @property
    def core(self) -> bool:
        return self.product and "core" in self.pure_path.parts

    def finding(self, line: int, rule: str, message: str) -> Finding:
        return Finding(self.path, line, rule, message)


def files(root: Path) -> Iterator[SourceFile]:
    """Every file that git tracks or would add, unless it is not text."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        try:
            yield SourceFile(name, (root / name).read_text(encoding="utf-8"))
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # a picture, a font, or a file that was just removed
