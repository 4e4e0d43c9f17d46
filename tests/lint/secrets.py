"""Secrets: compared in constant time in one place per package, and never taken from the environment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from .tree import Finding, SourceFile

SECRET_WORDS = frozenset({"signature", "signatures", "digest", "hexdigest", "hmac", "token", "secret", "password"})
NOT_SECRET = frozenset({"change_token", "txn_token", "retained_digest"})
"""Names of docs/protocol.md that only look like secrets: they identify a change, a transaction, a list."""

_SECRET_VARIABLE = re.compile(r"\bAQUASMART_[A-Z0-9_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE)\b(?!_FILE)")


def compared_in_one_place(file: SourceFile) -> Iterator[Finding]:
    """`==`, `!=` or `in` on what is named like a secret, and `compare_digest` outside core/signing.py."""
    if not (file.python and file.product):
        return
    signing = file.path.endswith("/core/signing.py")
    for node in ast.walk(file.syntax):
        if isinstance(node, ast.Compare) and _compares_by_value(node):
            name = next(filter(None, map(_secret_name, [node.left, *node.comparators])), None)
            if name:
                yield file.finding(
                    node.lineno,
                    "secret-comparison",
                    f"{name!r} is compared with an operator, whose time tells how much was right; call core/signing.py",
                )
        if not signing and "compare_digest" in _names_used(node):
            yield file.finding(
                node.lineno,
                "secret-comparison",
                "compare_digest belongs in core/signing.py, the package's one comparison of secrets; call that",
            )


def never_in_environment(file: SourceFile) -> Iterator[Finding]:
    """A secret in an environment variable shows in /proc, in crash reports and in every child process."""
    for number, line in enumerate(file.text.splitlines(), 1):
        for match in _SECRET_VARIABLE.finditer(line):
            yield file.finding(
                number,
                "secret-in-environment",
                f"{match[0]} would carry a secret itself; name a file: {match[0]}_FILE",
            )
    if file.python and file.product:
        yield from _environment_reads(file)


def _environment_reads(file: SourceFile) -> Iterator[Finding]:
    for node in ast.walk(file.syntax):
        name = _environment_name(node)
        if name and not name.endswith("_FILE") and SECRET_WORDS & {*name.lower().split("_")}:
            yield file.finding(
                node.lineno,
                "secret-in-environment",
                f"{name} is read from the environment; secrets come from files ({name}_FILE)",
            )


def _environment_name(node: ast.AST) -> str | None:
    """The variable that `os.environ[…]`, `environ.get(…)` or `getenv(…)` asks for."""
    asked: ast.expr | None = None
    if isinstance(node, ast.Subscript) and "environ" in ast.unparse(node.value):
        asked = node.slice
    elif isinstance(node, ast.Call) and node.args:
        called = ast.unparse(node.func)
        if called.endswith("getenv") or re.search(r"env(iron(ment)?)?\.(get|pop|setdefault)$", called):
            asked = node.args[0]
    return asked.value if isinstance(asked, ast.Constant) and isinstance(asked.value, str) else None


def _compares_by_value(node: ast.Compare) -> bool:
    if not any(isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for operator in node.ops):
        return False
    # `x == None`, `x == ""` and counting tell nothing of what the secret is.
    return not any(isinstance(side, ast.Constant) and side.value in (None, "", b"") for side in node.comparators)


def _secret_name(side: ast.expr) -> str | None:
    """The name in an operand that says it holds a secret. The length of one is none."""
    if isinstance(side, ast.Call) and isinstance(side.func, ast.Name) and side.func.id in {"len", "type", "set"}:
        return None
    if isinstance(side, ast.Constant):
        return None
    for node in ast.walk(side):
        name = {ast.Name: "id", ast.Attribute: "attr"}.get(type(node))
        said = getattr(node, name) if name else None
        if said and said not in NOT_SECRET and SECRET_WORDS & {*said.lower().strip("_").split("_")}:
            return str(said)
    return None


def _names_used(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Attribute):
        return {node.attr}
    if isinstance(node, ast.ImportFrom | ast.Import):
        return {alias.name for alias in node.names}
    return set()
