"""A strict reader of Prometheus' text exposition format 0.0.4, written from its description alone.

It refuses what a lenient scraper would pass: families in pieces, samples without TYPE, doubled samples, counters not
called `_total` or going negative, summaries whose parts are missing, trailing text, a last line without an end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)="(?P<value>(?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
_UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class Found:
    kind: str
    help: str
    samples: dict[Key, float] = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        """The sample with exactly these labels and the family's own name."""
        (found,) = [
            value
            for (name, have), value in self.samples.items()
            if dict(have) == labels and not name.endswith("_sum") and not name.endswith("_count")
        ]
        return found


def parse(text: str) -> dict[str, Found]:
    """Every family by name. Raises AssertionError with the line that is wrong."""
    assert text.endswith("\n"), "the last line has no end"
    families: dict[str, Found] = {}
    name, told = "", ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, rest = line.partition("# HELP ")
            name, _, told = rest.partition(" ")
            assert NAME.fullmatch(name), line
            assert name not in families, f"{name} comes in two pieces"
        elif line.startswith("# TYPE "):
            words = line.split(" ")
            assert words[2] == name, f"TYPE of another than HELP: {line}"
            assert words[3] in {"counter", "gauge", "summary", "histogram"}, line
            assert len(words) == 4, line
            families[name] = Found(words[3], told)
        else:
            _sample(line, name, families)
    for name, family in families.items():
        assert family.samples, f"{name} has no sample"
        _fits(name, family)
    return families


def _sample(line: str, name: str, families: dict[str, Found]) -> None:
    match = _SAMPLE.fullmatch(line)
    assert match, f"not a sample: {line!r}"
    assert name in families, f"a sample before its TYPE: {line}"
    suffixes = ("", "_sum", "_count") if families[name].kind == "summary" else ("",)
    assert match["name"] in {name + suffix for suffix in suffixes}, f"{line} under {name}"
    labels, at = [], 0
    text = match["labels"] or ""
    while at < len(text):
        label = _LABEL.match(text, at)
        assert label, f"labels of {line!r}"
        labels.append((label["name"], re.sub(r"\\.", lambda m: _UNESCAPED[m[0]], label["value"])))
        at = label.end()
    assert len({label for label, _ in labels}) == len(labels), f"a label twice: {line}"
    key = (match["name"], tuple(sorted(labels)))
    assert key not in families[name].samples, f"twice: {line}"
    families[name].samples[key] = float(match["value"])


def _fits(name: str, family: Found) -> None:
    if family.kind == "counter":
        assert name.endswith("_total"), f"{name}: a counter ends in _total"
        assert all(value >= 0 for value in family.samples.values()), name
    else:
        assert not name.endswith("_total"), f"{name}: only counters end in _total"
    if family.kind == "summary":
        assert {(f"{name}_sum", ()), (f"{name}_count", ())} <= family.samples.keys(), name
    else:
        assert not any(label == "quantile" for _, labels in family.samples for label, _ in labels), name
