"""The catalogues: what is taken out of the source, what is written and compiled, and that the gate can close."""

from __future__ import annotations

import gettext
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from aquasmart_station.adapters.languages import FOLDER, catalogue, first_known, language_of
from aquasmart_station.core.phrases import LANGUAGES
from deploy.translations import __main__ as tool
from deploy.translations.catalogue import BadCatalogue, Catalogue, compiled, faults, read, written
from deploy.translations.extract import Message, NotLiteral, in_source, in_template

HEADER = "Language: es\nContent-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n"
ONE, MANY = Message('a "quoted" {x}\nline'), Message("{n} event", "{n} events")
PLACES = {ONE: ["cli/a.py"], MANY: ["cli/a.py", "panel/b.html"]}
ENTRIES = {ONE: ('una "{x}"\nlínea',), MANY: ("{n} evento", "{n} eventos")}


def test_every_message_of_this_tree_is_translated_and_nothing_is_stale() -> None:
    assert list(tool.stale()) == []
    assert tool.languages() == [each for each in LANGUAGES if each != "en"]


def test_messages_are_taken_by_syntax() -> None:
    source = '''
@click.command("x")
@click.option("--full", help="Every "
              "row.")
def check(full):
    """Look.

    More.
    """
    click.echo(tr("a {b}", b=1) + trn("one", "{n}", 2))
    raise Fault(Phrase("no"), hint=counted("c", "d", 1))
def other():
    """Not a command's."""
    print("plain", marked("e"))
'''
    found = set(in_source(source, "cli/x.py"))
    singulars = {"Every row.", "Look.\n\nMore.", "a {b}", "no", "e"}
    assert found == {*map(Message, singulars), Message("one", "{n}"), Message("c", "d")}
    page = (
        '<p title="{{ tr("t") }}">{{ trn("u", "v", n) }}</p>{% if x %}{{ f(tr("w", x=1)) }}{% endif %}{{ other("z") }}'
    )
    assert set(in_template(page)) == {Message("t"), Message("u", "v"), Message("w")}


@pytest.mark.parametrize("line", ["tr(text)", 'Phrase("a" + b)', 'trn("a", b, 1)', 'marked(f"{x}")'])
def test_a_message_that_only_the_program_knows_is_refused(line: str) -> None:
    with pytest.raises(NotLiteral, match=r"cli/x.py:1"):
        list(in_source(line, "cli/x.py"))
    if line.startswith("tr"):
        with pytest.raises(NotLiteral):
            list(in_template("{{ " + line + " }}"))


def test_what_is_written_is_read_again_and_compiled_as_gettext_wants_it() -> None:
    text = written(Catalogue(HEADER, ENTRIES), PLACES)
    again = read(text)
    assert (again.header, again.entries) == (HEADER, ENTRIES)
    assert written(again, PLACES) == text
    found = gettext.GNUTranslations(io.BytesIO(compiled(again)))
    assert found.gettext(ONE.singular) == ENTRIES[ONE][0]
    assert [found.ngettext(*MANY, n) for n in (0, 1, 2)] == ["{n} eventos", "{n} evento", "{n} eventos"]  # type: ignore[misc]
    assert found.gettext("unknown") == "unknown"


def test_a_message_without_a_translation_is_left_out_and_a_fuzzy_one_is_none() -> None:
    text = written(Catalogue(HEADER), PLACES)
    assert list(read(text).entries.values()) == [("",), ("", "")]
    found = gettext.GNUTranslations(io.BytesIO(compiled(read(text))))
    assert found.ngettext("{n} event", "{n} events", 2) == "{n} events"
    fuzzy = text.replace('#: cli/a.py\nmsgid ""', '#: cli/a.py\n#, fuzzy\nmsgid ""').replace('msgstr ""', 'msgstr "x"')
    assert ONE not in read(fuzzy).entries
    with pytest.raises(BadCatalogue, match="line 1"):
        read("msgid hello\nmsgstr x\n")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({MANY: ENTRIES[MANY]}, "not translated"),
        ({**ENTRIES, ONE: ("",)}, "not translated"),
        ({**ENTRIES, MANY: ("{n} evento", "")}, "not translated"),
        ({**ENTRIES, MANY: ("{n} evento",)}, "needs 2"),
        ({**ENTRIES, ONE: ("sin valor",)}, "placeholders"),
        ({**ENTRIES, ONE: ("{y}",)}, "placeholders"),
        ({**ENTRIES, ONE: ("{x:.1f}",)}, "placeholders"),
        ({**ENTRIES, ONE: ("{x} {",)}, "placeholders"),
        ({**ENTRIES, MANY: ("{n} evento", "{n} {x}")}, "placeholders"),
        ({**ENTRIES, ONE: (" {x}",)}, "spaces"),
        ({**ENTRIES, Message("gone"): ("ido",)}, "in no file any more"),
    ],
)
def test_the_gate_closes(entries: dict[Message, tuple[str, ...]], says: str) -> None:
    found = list(faults(Catalogue(HEADER, entries), PLACES))
    assert len(found) == 1
    assert says in found[0]
    assert list(faults(Catalogue(HEADER, ENTRIES), PLACES)) == []


def test_a_change_of_the_source_makes_the_catalogues_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "station/src/aquasmart_station"
    shutil.copytree(tool.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(tool.SOURCES, tmp_path / "station/locale")
    for name, value in (
        ("REPOSITORY", tmp_path), ("PACKAGE", package), ("SOURCES", tmp_path / "station/locale"),
        ("TEMPLATE", tmp_path / "station/locale/aquasmart.pot"),
    ):  # fmt: skip
        monkeypatch.setattr(tool, name, value)
    assert list(tool.stale()) == []
    module = package / "core/showing.py"
    module.write_text(module.read_text().replace("{n} days", "{n} long days"))
    found = "\n".join(tool.stale())
    for says in ("pot: is stale", "not translated (core/showing.py): '{n} long days'", "any more: '{n} days'"):
        assert says in found
    assert tool.renew() == 1
    assert "long days" in (tmp_path / "station/locale/es/aquasmart.po").read_text()
    assert [each for each in tool.stale() if "not translated" not in each] == []


@pytest.mark.needs("gettext")
def test_gettexts_own_compiler_has_nothing_to_say(tmp_path: Path) -> None:
    for language in tool.languages():
        words = [
            "msgfmt",
            "--check-format",
            "-o",
            str(tmp_path / "x.mo"),
            str(tool.po_file(language)),
        ]
        done = subprocess.run(words, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        with (tmp_path / "x.mo").open("rb") as theirs_file, tool.mo_file(language).open("rb") as ours_file:
            theirs, ours = gettext.GNUTranslations(theirs_file), gettext.GNUTranslations(ours_file)
        assert theirs._catalog == ours._catalog  # type: ignore[attr-defined]


def test_every_language_has_its_catalogue_in_the_package() -> None:
    for language in LANGUAGES[1:]:
        assert (FOLDER / language / "LC_MESSAGES" / "aquasmart.mo").is_file()
        assert catalogue(language).gettext("the log") != "the log"
    assert catalogue("en").gettext("the log") == "the log"
    assert catalogue("xx").gettext("the log") == "the log"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "es_MX.UTF-8"}, "es"),
        ({"LANG": "es"}, "es"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "es_ES"}, "es"),
        ({"LANG": "es_ES", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "es_ES", "LC_ALL": "", "LC_MESSAGES": ""}, "es"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "de:es:en"}, "es"),
        ({"LANG": "es_ES.UTF-8", "LANGUAGE": "en"}, "en"),
        ({"LANGUAGE": "es"}, "es"),
        ({"LANG": "es_ES", "LC_ALL": "C", "LANGUAGE": "es"}, "en"),
        ({"LANG": "C.UTF-8", "LANGUAGE": "es"}, "en"),
        ({"LANG": "POSIX"}, "en"),
    ],
)
def test_the_environment_says_which_language(environment: dict[str, str], language: str) -> None:
    assert language_of(environment) == language


def test_the_first_language_that_we_speak() -> None:
    assert first_known(["fr_FR", "es-419", "en"]) == "es"
    assert first_known([]) == "en"
