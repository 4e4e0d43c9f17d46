"""The technician's command in Spanish, as it is typed; and everything for programs as if there were no Spanish."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from aquasmart_station.cli.main import _COMMANDS, group
from demo.site import program
from tests.integration.terminal import Terminal
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
SPANISH = {"LC_ALL": "es_ES.UTF-8", "LANGUAGE": ""}
ENGLISH_WORDS = re.compile(
    r"\b(?:the|and|with|waits?|events?|flow|not|which|this|that|does|have|been|nothing|every|from|of|is|are|was)\b"
)


def english(text: str) -> str:
    """The first English word in a text, names of options and paths apart; empty where there is none."""
    found = ENGLISH_WORDS.search(re.sub(r"--[\w-]+|\S*/\S*", "", text))
    return found[0] if found else ""


def run(*words: str, config: Path | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [program("aquasmart"), *(["--config", str(config)] if config else []), *words]
    environment = os.environ | SPANISH | settings
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.start()
    world.await_flow()
    return world


def said(world: World, *words: str) -> str:
    done = run(*words, config=world.site.config_path)
    return done.stdout + done.stderr


def test_status_and_its_neighbours(world: World) -> None:
    eventually(lambda: "en línea" in said(world, "status"), "sync online, in Spanish")
    text = said(world, "status")
    for part in ("contador", "estado", "caudal L/min", "bien", "disco", "en marcha", "lecturas respondidas"):
        assert part in text, part
    assert english(text) == "", text
    line = said(world, "watch", "-n", "1")
    assert ("reader en marcha" in line, "sync" in line, english(line)) == (True, True, ""), line
    assert "nada espera" in said(world, "operations", "list")
    assert "no hay ninguna visita" in said(world, "visit", "show")
    assert "ha comenzado" in said(world, "visit", "start", "--technician", "Ada")
    assert "el registro está" in said(world, "log", "verify")


def test_drain_says_how_it_goes(world: World) -> None:
    text = said(world, "drain", "--wait")
    assert "todo está entregado" in text
    assert re.search(r"\d+ de \d+ eventos  ", text)


def test_doctor_in_spanish(world: World) -> None:
    done = run("doctor", config=world.site.config_path)
    for part in ("configuración:", "reloj:", "disco:", "registro:", "puerto de tap-1:", "contador tap-1:", "nube:"):
        assert part in done.stdout, part
    assert english(done.stdout) == "", done.stdout


def test_what_is_wrong_is_said_in_spanish_too(world: World) -> None:
    world.site.stop("meter:tap-1")
    eventually(lambda: "puerto ausente" in said(world, "status"), "the state in Spanish")
    why = "degradada: link-down:tap-1: tap-1: ha desaparecido el puerto del contador"
    eventually(lambda: why in said(world, "status"), "the reason in Spanish")
    world.site.stop("reader")
    assert "parado" in said(world, "status")
    assert "el lector no está en marcha" in said(world, "meter", "swap", "tap-1", "--yes")


def test_programs_get_the_same_as_ever(world: World) -> None:
    """Names, numbers and sentences of `--json` are English whatever the person's language is."""
    world.settle()
    world.site.stop("sync")

    def steady(document: Any) -> Any:
        """Without the figures: ages and free space move between two looks at a station that stands still."""
        return re.sub(r"\d+(\.\d+)?", "0", json.dumps(document, sort_keys=True))

    for words in (("status",), ("doctor", "--offline"), ("check",), ("clock",), ("config", "show"), ("meter", "list")):
        spanish = run(*words, "--json", config=world.site.config_path)
        english = run(*words, "--json", config=world.site.config_path, LC_ALL="C")
        assert spanish.returncode == english.returncode
        assert steady(json.loads(spanish.stdout)) == steady(json.loads(english.stdout)), words
        assert "contador" not in spanish.stdout
    assert "# HELP aquasmart_sync_state 1 for the state that sync is in." in said(world, "metrics")


def test_a_question_takes_the_languages_yes(world: World) -> None:
    terminal = Terminal(world.site.config_path, "meter", "swap", "tap-1", environment=SPANISH)
    terminal.await_text("¿Se ha cambiado este contador? [s/N]")
    terminal.say("quizá\n")
    terminal.await_text("Responda sí o no.")
    terminal.say("sí\n")
    assert terminal.end() == 0
    assert "hecho" in terminal.seen


def test_errors_name_the_fault_and_the_next_step_in_spanish(tmp_path: Path) -> None:
    config = tmp_path / "station.toml"
    config.write_text('station_id = "X y"\n[cloud]\nurl = "ftp://x"\n')
    done = run("status", config=config)
    assert done.returncode == 78
    assert "fallos en la configuración" in done.stderr
    assert "Corrija el archivo" in done.stderr
    assert english(done.stderr) == "", done.stderr
    done = run("provision", str(tmp_path / "nothing.toml"), config=config)
    assert (done.returncode, "no se puede leer" in done.stderr) == (78, True)
    done = run("meter", "scale", config=config)
    assert (done.returncode, "Uso: " in done.stderr, "Falta el argumento" in done.stderr) == (2, True, True), (
        done.stderr
    )
    assert "No existe la opción" in run("status", "--nonsense").stderr


def commands(parent: click.Group, *path: str) -> list[tuple[str, ...]]:
    found = []
    for name in parent.list_commands(click.Context(parent)):
        command = parent.get_command(click.Context(parent), name)
        assert command is not None
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, *path, name)
    return found


def test_the_help_of_every_command_is_spanish() -> None:
    """All of it in one process: a start for each of forty commands would be a minute."""
    script = (
        "import sys, click\nfrom aquasmart_station.cli.main import group\n"
        "from aquasmart_station.cli.words import put_into_words\nput_into_words(group)\n"
        "for line in sys.stdin:\n"
        "    try:\n        group.main(line.split() + ['--help'], prog_name='aquasmart')\n"
        "    except SystemExit:\n        print('=====')\n"
    )
    listed = [(), *commands(group)]
    assert len(listed) > len(_COMMANDS)
    done = subprocess.run(
        [program("python"), "-I", "-c", script], input="\n".join(" ".join(each) for each in listed) + "\n",
        capture_output=True, text=True, env=os.environ | SPANISH | {"COLUMNS": "200"},
    )  # fmt: skip
    pages = done.stdout.split("=====\n")[:-1]
    assert len(pages) == len(listed), done.stderr
    for words, page in zip(listed, pages, strict=True):
        assert page.startswith("Uso: aquasmart"), page
        assert "Muestra este mensaje y termina." in page
        assert english(page) == "", (words, page)


def test_the_man_page_is_english_whoever_prints_it() -> None:
    assert run("manual").stdout == run("manual", LC_ALL="C").stdout
