"""A phrase is English to everybody, and says itself in another language only where it is asked to."""

from __future__ import annotations

import copy
import json
import pickle
from fractions import Fraction
from gettext import NullTranslations

import pytest

from aquasmart_station.core.errors import BadConfig, StationError
from aquasmart_station.core.phrases import Phrase, counted, joined, packed, sentences, translated, unpacked

WORDS = {
    "{meter} is {state}": "{state} está {meter}",
    "silent": "callado",
    "{n} event": "{n} evento",
    "{n} events": "{n} eventos",
    "{used:.1f} of {whole!r}": "de {whole!r}, {used:.1f}",
}


class Backwards(NullTranslations):
    """A language of a few words, which puts them in another order."""

    def gettext(self, message: str) -> str:
        return WORDS.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


def test_it_is_its_english_text() -> None:
    phrase = Phrase("{meter} is {state}", meter="tap-1", state=Phrase("silent"))
    assert phrase == "tap-1 is silent"
    assert hash(phrase) == hash("tap-1 is silent")
    assert json.dumps({"text": phrase}) == '{"text": "tap-1 is silent"}'
    assert f"{phrase}!" == "tap-1 is silent!"
    assert Phrase("100 % of {x}") == "100 % of {x}", "a template without values is taken as it is"


def test_it_says_itself_in_another_language_with_everything_in_it() -> None:
    phrase = Phrase("{meter} is {state}", meter="tap-1", state=Phrase("silent"))
    assert translated(phrase, Backwards()) == "callado está tap-1"
    assert translated(phrase, NullTranslations()) == "tap-1 is silent"
    assert translated("silent", Backwards()) == "silent", "a plain string is nobody's phrase"
    formatted = Phrase("{used:.1f} of {whole!r}", used=1.25, whole="x")
    assert translated(formatted, Backwards()) == "de 'x', 1.2"


@pytest.mark.parametrize(("n", "english", "other"), [(1, "1 event", "1 evento"), (0, "0 events", "0 eventos")])
def test_a_number_chooses_the_form(n: int, english: str, other: str) -> None:
    phrase = counted("{n} event", "{n} events", n)
    assert (phrase, translated(phrase, Backwards())) == (english, other)


def test_what_is_joined_stays_translatable() -> None:
    whole = joined(" · ", [Phrase("silent"), "tap-1", counted("{n} event", "{n} events", 2)])
    assert whole == "silent · tap-1 · 2 events"
    assert translated(whole, Backwards()) == "callado · tap-1 · 2 eventos"
    assert sentences(Phrase("silent"), "") == "silent"
    assert translated(Phrase("{meter} is {state}", meter=whole, state="x"), Backwards()).startswith("x está callado ·")


def test_a_copy_can_still_be_translated_and_another_process_gets_english() -> None:
    whole = joined(" ", [Phrase("silent"), "!"])
    assert translated(copy.deepcopy({"a": [whole]})["a"][0], Backwards()) == "callado !"
    sent = pickle.loads(pickle.dumps(whole))
    assert (sent, type(sent)) == ("silent !", str)


def test_packed_as_json_it_is_the_same_phrase_afterwards() -> None:
    state = joined("/", [Phrase("silent"), counted("{n} event", "{n} events", 1)])
    phrase = Phrase("{meter} is {state}", meter=Fraction(5, 2), state=state)
    carried = json.loads(json.dumps(packed(phrase)))
    again = unpacked(carried, str(phrase))
    assert again == phrase == "5/2 is silent/1 event"
    assert translated(again, Backwards()) == "callado/1 evento está 5/2"
    assert packed("plain") is None
    assert unpacked(None, "plain") == "plain"


@pytest.mark.parametrize(
    "document",
    [
        {"said": "{meter} is {state}", "plural": None, "number": 1, "values": {}},
        {"said": "another sentence", "plural": None, "number": 1, "values": {}},
        {"said": "{x.y}", "plural": None, "number": 1, "values": {"x": 1}},
        {"said": 5, "plural": None, "number": 1, "values": {}},
        {"parts": ["tap-1"]},
        {"separator": "", "parts": [None]},
        ["tap-1 is silent"],
    ],
)
def test_what_does_not_give_the_sentence_that_came_with_it_is_not_used(document: object) -> None:
    found = unpacked(document, "tap-1 is silent")
    assert (found, type(found)) == ("tap-1 is silent", str)


def test_an_error_is_english_and_keeps_its_phrases() -> None:
    fault = StationError(Phrase("silent"), hint=Phrase("{n} event", n=1))
    assert (str(fault), fault.hint, type(str(fault))) == ("silent", "1 event", str)
    assert translated(sentences(fault.message, fault.hint), Backwards()) == "callado 1 evento"
    many = BadConfig("station.toml", [Phrase("silent"), "x"])
    assert str(many) == "station.toml: 2 faults in the configuration\n  - silent\n  - x"
    assert translated(many.message, Backwards()).endswith("\n  - callado\n  - x")
