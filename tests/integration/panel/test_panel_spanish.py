"""The page in Spanish, for the phone that asks for it; what programs read there is as ever."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.site import program
from tests.integration.panel.door import PIN, Door, opened
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
MakeDoor = Callable[..., tuple[World, Door]]
SPANISH = {"Accept-Language": "es-MX,es;q=0.9,en;q=0.5"}
ENGLISH_WORDS = re.compile(
    r"\b(?:the|and|with|waits?|events?|meters?|cloud|flow|not|which|today|does|has|have|been|nothing|every|from|look|link"
    r"|room|clock|leave|enter|waiting|counted|healthy|backlog|dead|send|failed|operations|technician|days)\b",
    re.IGNORECASE,
)


@pytest.fixture
def make_door(make_world: Callable[..., World]) -> Iterator[MakeDoor]:
    doors: list[Door] = []

    def make(*, pin: bool = True, running: bool = True, **panel: Any) -> tuple[World, Door]:
        world = make_world(overrides={"panel": {"pin_file": "panel.pin", **panel}})
        world.start(*(() if running else ("meter:tap-1",)))
        if pin:
            command = [program("aquasmart"), "--config", str(world.site.config_path), "pin", "set", "--stdin"]
            subprocess.run(command, input=f"{PIN}\n", text=True, check=True)
        doors.append(Door(world.site.config_path, world.site.root / "logs" / "panel.log"))
        return world, opened(doors[-1])

    yield make
    for door in doors:
        door.close()


def words(page: str) -> str:
    """What a person reads on a page: text, and the texts that its script shows."""
    shown = " ".join(re.findall(r'data-lost="([^"]*)"', page))
    page = re.sub(r"<code>.*?</code>", "", page)
    return html.unescape(re.sub(r"<[^>]*>", "\n", page) + shown)


def ask(door: Door, path: str = "/", **language: str) -> tuple[int, str, dict[str, str]]:
    return door.ask(path, headers=(language and {"Accept-Language": language["wants"]}) or SPANISH)


def test_every_word_of_a_healthy_station_is_spanish(make_door: MakeDoor) -> None:
    world, door = make_door()
    world.await_flow()
    eventually(lambda: "todo bien" in words(ask(door)[1]), "a healthy station, in Spanish")
    status, page, said = ask(door)
    assert (status, said["Content-Language"], "Accept-Language" in said["Vary"]) == (200, "es", True)
    assert '<html lang="es">' in page
    for part in (
        "Caudal ahora",
        "Hoy",
        "Nube",
        "Enlace",
        "en línea desde hace",
        "En espera",
        "Contador",
        "Reloj",
        "Técnico",
    ):
        assert part in words(page), part
    assert "La estación no responde" in words(page)
    assert not ENGLISH_WORDS.search(words(page).replace("AquaSmart", "")), words(page)
    # The live part that the script asks for is in the same language.
    assert "Caudal ahora" in ask(door, "/live")[1]


def test_what_is_wrong_and_what_can_be_done_is_spanish(make_door: MakeDoor) -> None:
    world, door = make_door()
    world.await_flow()
    door.ask("/pin", form={"pin": "111111"}, headers=SPANISH)
    assert "ese no es el PIN" in words(ask(door)[1])
    door.ask("/pin", form={"pin": PIN}, headers=SPANISH)
    page = words(ask(door)[1])
    for part in ("Lo que puede hacer", "Enviar ahora lo que espera", "Salir"):
        assert part in page, part
    token = re.search(r'name="form" value="([^"]+)"', ask(door)[1])
    assert token is not None
    door.ask("/actions/retry-operations", form={"form": token[1]}, headers=SPANISH)
    assert "se reintentarán 0 operaciones" in words(ask(door)[1])
    world.site.stop("reader")
    eventually(lambda: "no funciona" in words(ask(door)[1]), "what is wrong, in Spanish")
    page = words(ask(door)[1])
    assert not ENGLISH_WORDS.search(page.replace("AquaSmart", "").replace("reader", "")), page
    assert '"what": "reader"' in json.dumps(json.loads(ask(door, "/api/state")[1]))


def test_refusals_are_in_the_visitors_language(make_door: MakeDoor) -> None:
    _, door = make_door(running=False)
    status, page, _ = door.ask("/", headers=SPANISH | {"Host": "evil.example"})
    assert (status, "abra esta página" in page.lower()) == (400, True)
    status, page, _ = door.ask("/actions/drain", form={}, headers=SPANISH)
    assert (status, "introduzca primero el PIN" in page) == (403, True)
    status, page, _ = ask(door, "/nowhere")
    assert (status, "No existe esa página" in page) == (404, True)
    assert "enter the PIN first" in door.ask("/actions/drain", form={})[1]


def test_programs_and_others_get_english(make_door: MakeDoor) -> None:
    world, door = make_door()
    world.await_flow()
    eventually(
        lambda: "Healthy" in ask(door, wants="fr")[1] or "healthy" in ask(door, wants="fr")[1], "a healthy station"
    )
    for wants in ("en", "fr", "en-GB,es;q=0.8", "*;q=0"):
        assert "Flow now" in ask(door, wants=wants)[1], wants
    assert "Flow now" in door.ask("/")[1]
    shown = json.loads(ask(door, "/api/state")[1])
    assert shown["health"]["word"] == "healthy"
    assert shown["clock"]["text"] in {
        "set by the network", "kept by the board's battery; not confirmed by the network",
        "restored after power-on; not confirmed by the network", "not set: connect the network or set the clock",
    }  # fmt: skip
    assert "# HELP" in ask(door, "/metrics")[1]


def test_the_configuration_has_the_last_word_for_who_wants_neither(make_door: MakeDoor) -> None:
    _, door = make_door(running=False, language="es")
    assert "Caudal ahora" in ask(door, wants="fr")[1]
    assert "Caudal ahora" in door.ask("/")[1]
    assert "Flow now" in ask(door, wants="en")[1]


def test_a_language_that_is_not_spoken_is_a_fault_of_the_configuration(make_world: Callable[..., World]) -> None:
    world = make_world(overrides={"panel": {"language": "xx"}})
    world.prepare()
    command = [program("aquasmart"), "--config", str(world.site.config_path), "status"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 78
    assert "panel.language: 'xx' must match en|es" in done.stderr
