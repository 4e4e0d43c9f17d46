"""Each of our own rules fires on a bad example and leaves a good one alone: a lint that finds nothing says nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, UniqueConstraint

from tests.lint import modules, places, secrets, tables, words
from tests.lint.__main__ import ROOT
from tests.lint.tree import SourceFile

STATION = "station/src/aquasmart_station/"
CLOUD = "cloud/src/aquasmart_cloud/"


def lines(rule, text: str, path: str = STATION + "services/sync.py") -> list[int]:
    return [finding.line for finding in rule(SourceFile(path, text))]


@pytest.mark.parametrize(
    "line",
    [
        "ok = signature == expected",
        "ok = expected != headers['X'].signature",
        "ok = request_signature in known",
        "ok = digest_of(body) == stored_digest",
        "ok = hmac.new(key, body).hexdigest() == given",
        "ok = token == 'abc'",
        "ok = self._admin_token != offered",
        "ok = (a, client_secret) == (b, other)",
        "ok = hmac.compare_digest(a, b)",
        "from hmac import compare_digest",
    ],
)
def test_a_secret_compared_by_an_operator_is_found(line: str) -> None:
    assert lines(secrets.compared_in_one_place, f"import hmac\n{line}\n") == [2]


@pytest.mark.parametrize(
    "line",
    [
        "ok = verified(key, message, signature)",
        "ok = signature is None",
        "ok = signature == ''",
        "ok = len(token) == 64",
        "ok = change_token == other.change_token",
        "ok = key_id == other",
        "signature = sign(key, message)",
    ],
)
def test_what_is_no_comparison_of_a_secret_is_left_alone(line: str) -> None:
    assert lines(secrets.compared_in_one_place, line) == []


def test_only_core_signing_may_call_compare_digest() -> None:
    text = "import hmac\nok = hmac.compare_digest(a, b)\n"
    for package in (STATION, CLOUD):
        assert lines(secrets.compared_in_one_place, text, package + "core/signing.py") == []
        assert lines(secrets.compared_in_one_place, text, package + "web/auth.py") == [2]
    assert lines(secrets.compared_in_one_place, text, "tests/unit/test_x.py") == []


@pytest.mark.parametrize(
    "line",
    [
        'key = os.environ["AQUASMART_MASTER' + '_KEY"]',
        'key = os.environ.get("STATION_SECRET")',
        'key = os.getenv("ADMIN_TOKEN", "")',
        'key = env.get("DB_PASSWORD")',
        "command = 'AQUASMART_ADMIN" + "_TOKEN=x gunicorn'",
    ],
)
def test_a_secret_from_the_environment_is_found(line: str) -> None:
    assert set(lines(secrets.never_in_environment, line)) == {1}


def test_a_secret_in_a_units_environment_is_found() -> None:
    unit = "[Service]\nEnvironment=AQUASMART_MASTER" + "_KEY=00\n"
    assert lines(secrets.never_in_environment, unit, "deploy/cloud.service") == [2]


def test_the_file_of_a_secret_may_be_named_in_the_environment() -> None:
    text = 'path = os.environ["AQUASMART_MASTER_KEY_FILE"]\ntoken = row.get("token")\n'
    assert lines(secrets.never_in_environment, text) == []


def test_a_long_module_is_found_at_the_line_where_it_becomes_so() -> None:
    assert lines(modules.short_enough, "x = 1\n" * 401) == [401]
    assert lines(modules.short_enough, "x = 1\n" * 400) == []
    assert lines(modules.short_enough, "x = 1\n" * 501, "tests/unit/test_x.py") == [501]
    assert lines(modules.short_enough, "x = 1\n" * 500, "tests/unit/test_x.py") == []
    assert lines(modules.short_enough, "x\n" * 900, CLOUD + "web/static/vendor/chart.js") == []


@pytest.mark.parametrize("path", ["utils.py", "core/helpers.py", "common/pricing.py", "stream_manager.py", "base.py"])
def test_a_name_that_says_nothing_is_found(path: str) -> None:
    assert lines(modules.named_by_content, "", STATION + path) == [1]


@pytest.mark.parametrize("path", [STATION + "core/pricing.py", CLOUD + "web/templates/base.html", "docs/common.md"])
def test_other_names_are_left_alone(path: str) -> None:
    assert lines(modules.named_by_content, "", path) == []


@pytest.mark.parametrize("line", ["x = float(counts)", "x = 0.5", "x = counts / den", "x /= 2"])
def test_a_float_in_a_core_is_found(line: str) -> None:
    assert lines(modules.no_floats_in_core, line, CLOUD + "core/pricing.py") == [1]
    assert lines(modules.no_floats_in_core, line, STATION + "services/report.py") == []


def test_exact_arithmetic_in_a_core_is_left_alone() -> None:
    text = "x = counts * ul_num // den\ny = Fraction(1_000_000) / k\n"
    assert lines(modules.no_floats_in_core, text, STATION + "core/model.py") == []


@pytest.mark.parametrize("path", sorted(modules.FLOATS_ALLOWED))
def test_no_module_is_exempt_from_exactness_in_vain(path: str) -> None:
    text = SourceFile(path, (ROOT / path).read_text()).text
    assert lines(modules.no_floats_in_core, text, STATION + "core/elsewhere.py"), f"{path} needs no exemption"


@pytest.mark.parametrize(
    "line", ["see /" + "home/ada/aqua", "PATH=/" + "root/x", "cd /" + "work/main", "/" + "Users/ada"]
)
def test_a_path_of_one_machine_is_found(line: str) -> None:
    assert lines(places.no_machine_paths, line, "README.md") == [1]


@pytest.mark.parametrize("line", ["/var/lib/aquasmart", "https://example.org/home/ada", "${ROOT}/work/x", "/tmp/x"])
def test_paths_that_every_machine_has_are_left_alone(line: str) -> None:
    assert lines(places.no_machine_paths, line, "README.md") == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-" + "url https://example.org/x",
        "# from py" + "pi.org",
        "https://example.org/sim" + "ple/",
        "https://files.python" + "hosted.org/x",
    ],
)
def test_an_address_of_a_registry_is_found(line: str) -> None:
    assert lines(places.no_registry_hosts, line, "requirements/dev.txt") == [1]


def test_a_table_without_a_named_writer_is_found() -> None:
    good = "-- written by: reader. Events.\nCREATE TABLE event (x);\nCREATE TABLE IF NOT EXISTS more (x);\n"
    bad = good + "\n-- What was refused.\nCREATE TABLE dead_letter (x);\n"
    assert lines(tables.writers_in_sql, good, "a.sql") == []
    assert lines(tables.writers_in_sql, bad, "a.sql") == [6]


def schema(*extra, comment: str | None = "writer: store.recording", primary: tuple[str, ...] = ("station_id", "seq")):
    metadata = MetaData()
    Table(
        "event",
        metadata,
        *(Column(name, String(64), primary_key=name in primary) for name in ("station_id", "seq", "other")),
        *extra,
        comment=comment,
    )
    return metadata


def test_every_key_of_a_growing_table_needs_the_station() -> None:
    assert list(tables.keyed_by_station(schema(), {})) == []
    for metadata in (
        schema(primary=("seq",)),
        schema(primary=()),
        schema(UniqueConstraint("other")),
        schema(Index("ix_other", "other", unique=True)),
    ):
        found = list(tables.keyed_by_station(metadata, {}))
        assert [finding.rule for finding in found] == ["station-key"]
    assert list(tables.keyed_by_station(schema(Index("ix_other", "other")), {})) == []


def test_an_exempt_table_is_left_alone_and_a_stale_exemption_is_found() -> None:
    metadata = MetaData()
    Table("sign_in_link", metadata, Column("digest", Integer, primary_key=True))
    assert list(tables.keyed_by_station(metadata, {"sign_in_link": "a person's"})) == []
    assert [finding.rule for finding in tables.keyed_by_station(schema(), {"gone": "was removed"})] == ["station-key"]


def test_a_table_of_the_schema_without_a_named_writer_is_found() -> None:
    assert list(tables.writers_in_schema(schema())) == []
    assert [finding.rule for finding in tables.writers_in_schema(schema(comment=None))] == ["table-writer"]
    assert [finding.rule for finding in tables.writers_in_schema(schema(comment="writer:"))] == ["table-writer"]


@pytest.mark.parametrize(
    "line",
    [
        'click.echo("the log is sound")',
        'click.echo(f"{count} rows")',
        'click.echo("wrote" if x else tr("removed"))',
        'click.echo("  " + "the rest")',
        'raise click.UsageError("say which")',
        'raise LogError(f"{path} cannot be read")',
        'raise BadConfig(path, ["the file is not there"])',
        'raise LogError(Phrase("no"), hint="Run it again.")',
        'shown = table("tap", tr("port"))',
        '@click.option("--x", help="a" + b)\ndef f(): pass',
    ],
)
def test_words_that_cannot_be_translated_are_found(line: str) -> None:
    assert len(lines(words.marked_in_code, line, STATION + "cli/x.py")) == 1


@pytest.mark.parametrize(
    "line",
    [
        'click.echo(tr("the log is sound"))',
        'click.echo(f"{tr(word)}: {count} MiB  ✓")',
        'click.echo(f"aquasmart: {shown(fault.message)}", err=True)',
        "click.echo(json.dumps(document))",
        'raise LogError(Phrase("no"), hint=fault.hint)',
        'raise ValueError("to whoever wrote this")',
        'raise AssertionError("never")',
        '@click.option("--x", help="A word.")\ndef f(): pass',
    ],
)
def test_words_that_are_marked_or_for_nobody_are_left_alone(line: str) -> None:
    assert lines(words.marked_in_code, line, STATION + "cli/x.py") == []
    assert lines(words.marked_in_code, 'click.echo("x y")', CLOUD + "cli.py") == [], "the cloud speaks English"


def test_text_on_a_page_is_found() -> None:
    page = '<h2>Flow now</h2>\n<p class="x">{{ tr("Today") }}</p>\n'
    page += "<dd>{{ x }} L/min</dd> · <b>AquaSmart</b>\n{% if x %}and{% endif %}\n"
    assert lines(words.marked_on_pages, page, STATION + "panel/templates/x.html") == [1, 4]


def test_a_module_that_waits_is_named_until_it_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(words.NOT_YET, "cli/x.py", "later")
    assert lines(words.marked_in_code, 'click.echo("the log")', STATION + "cli/x.py") == []
    assert lines(words.marked_in_code, 'click.echo(tr("the log"))', STATION + "cli/x.py") == [1]
    assert [name for name in words.NOT_YET if name != "cli/x.py"] == [], "nothing waits"
