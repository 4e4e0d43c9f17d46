"""`python -m deploy.translations`: renew the catalogues from the source; `--check`: name what is stale or missing.

station/locale/aquasmart.pot         every message, made here
station/locale/es/aquasmart.po       a language's translations: a translator edits this one
…/aquasmart_station/locale/es/LC_MESSAGES/aquasmart.mo   what the program reads, made here
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from .catalogue import BadCatalogue, Catalogue, compiled, faults, read, written
from .extract import NotLiteral, messages

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PACKAGE = REPOSITORY / "station/src/aquasmart_station"
SOURCES = REPOSITORY / "station/locale"
TEMPLATE = SOURCES / "aquasmart.pot"
_HEADER = "Project-Id-Version: aquasmart-station\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
_HEADER += "Content-Transfer-Encoding: 8bit\n"


def languages() -> list[str]:
    """Those with a .po file."""
    return sorted(path.parent.name for path in SOURCES.glob("*/aquasmart.po"))


def po_file(language: str) -> Path:
    return SOURCES / language / "aquasmart.po"


def mo_file(language: str) -> Path:
    return PACKAGE / "locale" / language / "LC_MESSAGES/aquasmart.mo"


def stale() -> Iterator[str]:
    """What `make translations` would change, and what only a translator can. Empty where all is whole."""
    try:
        wanted = messages(PACKAGE)
    except NotLiteral as fault:
        yield str(fault)
        return
    if _text(TEMPLATE) != written(Catalogue(_HEADER), wanted):
        yield f"{TEMPLATE.relative_to(REPOSITORY)}: is stale: make translations"
    for language in languages():
        path = po_file(language)
        try:
            found = read(_text(path))
        except BadCatalogue as fault:
            yield f"{path.relative_to(REPOSITORY)}: {fault}"
            continue
        yield from (f"{path.relative_to(REPOSITORY)}: {each}" for each in faults(found, wanted))
        made = mo_file(language)
        if not made.exists() or made.read_bytes() != compiled(found):
            yield f"{made.relative_to(REPOSITORY)}: is stale: make translations"


def renew() -> int:
    """Write .pot, .po and .mo anew; how many messages wait for a translator."""
    wanted = messages(PACKAGE)
    TEMPLATE.write_text(written(Catalogue(_HEADER), wanted), encoding="utf-8")
    waiting = 0
    for language in languages():
        found = read(_text(po_file(language)))
        po_file(language).write_text(written(found, wanted), encoding="utf-8")
        kept = Catalogue(found.header, {each: forms for each, forms in found.entries.items() if each in wanted})
        mo_file(language).parent.mkdir(parents=True, exist_ok=True)
        mo_file(language).write_bytes(compiled(read(written(kept, wanted))))
        waiting += sum(not all(kept.entries.get(each, ("",))) for each in wanted)
    return waiting


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main() -> int:
    parser = argparse.ArgumentParser(description="Renew the catalogues of translations.")
    parser.add_argument("--check", action="store_true", help="Only say what is stale or missing; 1 where anything is.")
    if parser.parse_args().check:
        found = list(stale())
        print("\n".join(found) or "every message is translated")
        return 1 if found else 0
    try:
        waiting = renew()
    except (NotLiteral, BadCatalogue) as fault:
        print(fault, file=sys.stderr)
        return 1
    print(f"{len(messages(PACKAGE))} messages; {waiting} translations are missing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
