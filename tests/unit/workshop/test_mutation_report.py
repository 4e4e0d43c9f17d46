"""The mutation figure counts what was tested, and only that."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.mutation_report import main, summed


def test_a_mutant_that_no_test_reaches_survives() -> None:
    statuses = Counter({"killed": 6, "timeout": 1, "survived": 2, "no tests": 1})
    assert summed(statuses) == {"mutants": 10, "killed": 7, "survived": 3, "score": 70.0, "untested": 0}


def test_without_mutants_there_is_no_score() -> None:
    assert summed(Counter({"skipped": 3}))["score"] is None


def test_what_was_not_tested_is_named_and_does_not_count(tmp_path: Path, capsys) -> None:
    core = tmp_path / "work" / "station" / "mutants" / "src" / "aquasmart_station" / "core"
    core.mkdir(parents=True)
    (core / "model.py.meta").write_text(json.dumps({"exit_code_by_key": {"a": 1, "b": 1, "c": 0, "d": 33}}))
    (core / "signing.py.meta").write_text(json.dumps({"exit_code_by_key": {"e": None, "f": None}}))
    output = tmp_path / "mutation.json"
    main([tmp_path / "work" / "station"], output)
    figure = json.loads(output.read_text())["station"]
    modules = figure.pop("modules")
    assert figure == {"mutants": 4, "killed": 2, "survived": 2, "score": 50.0, "untested": 2}
    assert modules["model"] == {"mutants": 4, "killed": 2, "survived": 2, "score": 50.0, "untested": 0}
    assert modules["signing"] == {"mutants": 0, "killed": 0, "survived": 0, "score": None, "untested": 2}
    assert "station: 2 of 4 mutants killed, 50.0 %; 2 were not tested" in capsys.readouterr().out
