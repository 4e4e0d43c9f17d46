"""The file formats of GNU gettext: .po as text, .mo for the program (gettext manual, "The Format of GNU MO Files").

Of .po only what we use: no contexts, no fuzzy entries (one is taken for a missing translation), files as references.
"""

from __future__ import annotations

import ast
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from string import Formatter

from .extract import Message

HEADER = Message("")
MAGIC = 0x950412DE


class BadCatalogue(Exception):
    """A .po file that cannot be read. The message has the line."""


@dataclass
class Catalogue:
    """The translations of one language, in the file's order. `header`: its `Name: value` lines."""

    header: str = ""
    entries: dict[Message, tuple[str, ...]] = field(default_factory=dict)
    """Empty strings: not translated yet. As many as the language has plural forms where the message has a plural."""

    def plural_forms(self) -> int:
        """How many forms a number asks for in this language."""
        for line in self.header.splitlines():
            if line.startswith("Plural-Forms:"):
                return int(line.partition("nplurals=")[2].partition(";")[0])
        return 2


def read(text: str) -> Catalogue:
    """A .po file. Raises BadCatalogue."""
    made = Catalogue()
    for number, block in _blocks(text):
        if any(line.startswith("#,") and "fuzzy" in line for line in block):
            continue
        fields: dict[str, str] = {}
        name = ""
        for line in block:
            if line.startswith("#"):
                continue
            word, _, rest = line.partition(" ") if not line.startswith('"') else (name, "", line)
            name = word
            try:
                fields[name] = fields.get(name, "") + str(ast.literal_eval(rest.strip()))
            except (SyntaxError, ValueError) as fault:
                raise BadCatalogue(f"line {number}: {line!r} is no string in quotes") from fault
        if "msgid" not in fields:
            continue
        forms = tuple(fields[key] for key in sorted(fields) if key.startswith("msgstr"))
        if fields["msgid"] == "":
            made.header = forms[0] if forms else ""
        else:
            made.entries[Message(fields["msgid"], fields.get("msgid_plural"))] = forms
    return made


def written(catalogue: Catalogue, places: Mapping[Message, list[str]]) -> str:
    """A .po file (a .pot where nothing is translated), the messages in the order of `places`."""
    parts = [
        'msgid ""\nmsgstr ""\n' + "".join(f"{_quoted(line)}\n" for line in catalogue.header.splitlines(keepends=True))
    ]
    for message, files in places.items():
        forms = catalogue.entries.get(message) or ("",) * (1 if message.plural is None else catalogue.plural_forms())
        lines = [f"#: {' '.join(files)}", *_field("msgid", message.singular)]
        if message.plural is None:
            lines += _field("msgstr", forms[0])
        else:
            lines += _field("msgid_plural", message.plural)
            for index, form in enumerate(forms):
                lines += _field(f"msgstr[{index}]", form)
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def compiled(catalogue: Catalogue) -> bytes:
    """The .mo file: the same bytes for the same translations. What is not translated is left out."""
    table = {"": catalogue.header}
    for message, forms in catalogue.entries.items():
        if forms and all(forms):
            key = message.singular if message.plural is None else f"{message.singular}\0{message.plural}"
            table[key] = "\0".join(forms)
    pairs = sorted((key.encode(), value.encode()) for key, value in table.items())
    count = len(pairs)
    keys_at, values_at, text_at = 28, 28 + 8 * count, 28 + 16 * count
    keys, values, text = b"", b"", b""
    for key, _ in pairs:
        keys += struct.pack("<II", len(key), text_at + len(text))
        text += key + b"\0"
    for _, value in pairs:
        values += struct.pack("<II", len(value), text_at + len(text))
        text += value + b"\0"
    return struct.pack("<7I", MAGIC, 0, count, keys_at, values_at, 0, 0) + keys + values + text


def faults(catalogue: Catalogue, wanted: Mapping[Message, list[str]]) -> Iterator[str]:
    """What keeps a catalogue from being whole: missing and left-over messages, placeholders that differ."""
    for message, files in wanted.items():
        forms = catalogue.entries.get(message, ())
        if not forms or not all(forms):
            yield f"not translated ({', '.join(files)}): {message.singular!r}"
            continue
        if message.plural is not None and len(forms) != catalogue.plural_forms():
            yield f"has {len(forms)} forms and needs {catalogue.plural_forms()}: {message.singular!r}"
        originals = [_placeholders(text) for text in message if text is not None]
        for form in forms:
            # A form for one may say "one" instead of the number.
            if _placeholders(form) not in originals:
                yield f"other placeholders than {message.singular!r}: {form!r}"
            if (
                form[:1].isspace() != message.singular[:1].isspace()
                or form[-1:].isspace() != message.singular[-1:].isspace()
            ):
                yield f"other spaces at its ends than {message.singular!r}: {form!r}"
    for message in catalogue.entries:
        if message not in wanted:
            yield f"is in no file any more: {message.singular!r}"


def _placeholders(text: str) -> list[tuple[str, str]]:
    try:
        found = [(name, spec or "") for _, name, spec, _ in Formatter().parse(text) if name is not None]
    except ValueError:
        return [("?", text)]
    return sorted(found)


def _field(name: str, text: str) -> list[str]:
    if "\n" not in text:
        return [f"{name} {_quoted(text)}"]
    return [f'{name} ""', *(_quoted(line) for line in text.splitlines(keepends=True))]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """The entries: lines between empty ones, with the number of the first."""
    block: list[str] = []
    first = 1
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.strip():
            if not block:
                first = number
            block.append(line.strip())
        elif block:
            yield first, block
            block = []
