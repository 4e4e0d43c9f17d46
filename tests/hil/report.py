"""The report: JUnit XML for machines, a table for people as text and HTML. A simulation says so on every page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

PASSED, FAILED, NOT_RUN = "passed", "FAILED", "NOT RUN"
PAGE_LINES = 50
SIMULATED = "SIMULATED: no real meter, no water; this report accepts nothing"


@dataclass(frozen=True)
class Verdict:
    """One line of the table."""

    name: str
    title: str
    limit: str
    measured: str
    verdict: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """What was tested, with what, by whom, and every verdict."""

    facts: dict[str, str]
    verdicts: Sequence[Verdict]
    simulated: bool

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hil.xml").write_text(self.junit())
        (folder / "hil.txt").write_text(self.text())
        (folder / "hil.html").write_text(self.html())

    def junit(self) -> str:
        bad = sum(each.verdict == FAILED for each in self.verdicts)
        out = sum(each.verdict == NOT_RUN for each in self.verdicts)
        name = "hil (SIMULATED)" if self.simulated else "hil"
        suite = ET.Element(
            "testsuite", name=name, tests=str(len(self.verdicts)), failures=str(bad), skipped=str(out), errors="0"
        )
        facts = ET.SubElement(suite, "properties")
        for key, value in self.facts.items():
            ET.SubElement(facts, "property", name=key, value=value)
        for each in self.verdicts:
            case = ET.SubElement(
                suite, "testcase", classname=name, name=f"{each.name} {each.title}", time=f"{each.seconds:.1f}"
            )
            if each.verdict == FAILED:
                ET.SubElement(case, "failure", message=each.measured)
            elif each.verdict == NOT_RUN:
                ET.SubElement(case, "skipped", message=f"NOT RUN: {each.measured}")
            else:
                ET.SubElement(case, "system-out").text = each.measured
        ET.indent(suite)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"

    def text(self) -> str:
        lines = [f"{key:<12} {value}" for key, value in self.facts.items()] + [""]
        for each in self.verdicts:
            lines.append(f"{each.name:<4} {each.verdict:<8} {each.title}")
            lines += [f"     limit     {each.limit}", f"     measured  {each.measured}"]
        lines += ["", self.summary()]
        pages = [lines[at : at + PAGE_LINES] for at in range(0, len(lines), PAGE_LINES)]
        heads = [f"AquaSmart meter acceptance, page {n + 1} of {len(pages)}" for n in range(len(pages))]
        mark = [SIMULATED] if self.simulated else []
        return "\f".join("\n".join([head, *mark, "", *page, ""]) for head, page in zip(heads, pages, strict=True))

    def html(self) -> str:
        def row(cells: Sequence[str], tag: str = "td") -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        facts = "".join(row((key, value)) for key, value in self.facts.items())
        rows = "".join(row((v.name, v.title, v.limit, v.measured, v.verdict)) for v in self.verdicts)
        head = row(("", "check", "limit", "measured", "verdict"), "th")
        # Fixed elements repeat on every printed page.
        mark = f'<div class="mark">{SIMULATED}</div>' if self.simulated else ""
        style = (
            "body{font:14px sans-serif;margin:3em}td,th{border:1px solid #999;padding:.3em .6em;text-align:left;"
            "vertical-align:top}table{border-collapse:collapse;margin:1em 0}.mark{position:fixed;top:0;left:0;right:0;"
            "background:#c00;color:#fff;text-align:center;padding:.3em;font-weight:bold}"
        )
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>AquaSmart meter acceptance</title>'
            f"<style>{style}</style>{mark}<h1>AquaSmart meter acceptance</h1><table>{facts}</table>"
            f"<table>{head}{rows}</table><p>{html.escape(self.summary())}</p></html>\n"
        )

    def summary(self) -> str:
        counted = {name: sum(each.verdict == name for each in self.verdicts) for name in (PASSED, FAILED, NOT_RUN)}
        said = ", ".join(f"{number} {name}" for name, number in counted.items())
        return f"{said}{' (SIMULATED)' if self.simulated else ''}"
