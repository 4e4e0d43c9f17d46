"""The rules of roll-outs: windows, who is offered what, what moves on; and the form of a bundle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core import rollouts as r
from aquasmart_cloud.core.rauc_form import LEAST_BYTES, NoBundle, check_form
from aquasmart_cloud.core.rollouts import Facts, Window


@pytest.mark.parametrize("text", ["02:00-05:00", "23:30-00:15", "00:00-00:00"])
def test_a_window_is_written_as_it_is_read(text: str) -> None:
    window = Window.parse(text)
    assert window is not None
    assert str(window) == text
    since, until = text.split("-")
    assert window.document() == {"from": since, "to": until}


@pytest.mark.parametrize(
    "text", ["", "2:00-5:00", "02:00", "24:00-05:00", "02:60-05:00", "02:00-05:00 ", "٠2:00-05:00"]
)
def test_what_is_no_window(text: str) -> None:
    assert Window.parse(text) is None


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(-900, 900))
def test_a_shifted_window_keeps_its_length_and_comes_back(since: int, until: int, minutes: int) -> None:
    window = Window(since, until)
    shifted = window.shifted(minutes)
    assert (shifted.until - shifted.since) % 1440 == (until - since) % 1440
    assert shifted.shifted(-minutes) == window


@pytest.mark.parametrize(
    ("state", "stage", "canary", "own", "expected"),
    [
        (r.RUNNING, r.CANARIES, True, "", True),
        (r.RUNNING, r.CANARIES, False, "", False),
        (r.RUNNING, r.ALL, False, "", True),
        (r.RUNNING, r.ALL, False, r.DOWNLOADING, True),
        (r.RUNNING, r.ALL, True, r.GOOD, False),
        (r.RUNNING, r.ALL, False, r.FAILED, False),
        (r.STOPPED, r.ALL, False, r.INSTALLED, None),
        (r.STOPPED, r.ALL, False, "", False),
        (r.STOPPED, r.ALL, True, r.FELL_BACK, False),
        (r.FINISHED, r.ALL, False, "", False),
    ],
)
def test_who_is_offered_what(state: str, stage: str, canary: bool, own: str, expected: bool | None) -> None:
    assert r.concerns(state, stage, canary=canary, station_state=own) is expected


@given(st.sampled_from(["", *r.RESULTS]), st.sampled_from(r.RESULTS))
def test_results_only_move_on_and_nothing_follows_an_end(former: str, told: str) -> None:
    moves = r.moves_on(former, told)
    if former in r.ENDED or former == told:
        assert not moves
    if former == "":
        assert moves
    if moves and told not in r.ENDED:
        assert not r.moves_on(told, former or r.DOWNLOADING) or former == ""


def test_everybody_follows_only_when_each_canary_is_good() -> None:
    assert r.stage_after([r.GOOD, r.GOOD]) == r.ALL
    for other in ("", r.INSTALLED, r.FAILED):
        assert r.stage_after([r.GOOD, other]) == r.CANARIES


def test_facts_that_are_none_are_named_each() -> None:
    assert r.facts_faults(Facts("1.4.0", 12, "aquasmart-raspberrypi4-64")) == []
    assert r.facts_faults(Facts("1.4.0-rc1+b2", 1, "AquaSmart Demo_1")) == []
    assert len(r.facts_faults(Facts("", 0, "a/b"))) == 3
    assert len(r.facts_faults(Facts("1 4", 10**9, ""))) == 3


def made(image_bytes: int = 8_192, signature_bytes: int = 100, used_bytes: int | None = None) -> bytearray:
    used = image_bytes if used_bytes is None else used_bytes
    image = bytearray(image_bytes)
    image[:4], image[40:48] = b"hsqs", used.to_bytes(8, "little")
    return image + b"\x30" + bytes(signature_bytes - 1) + signature_bytes.to_bytes(8, "big")


def form(data: bytes | bytearray) -> None:
    check_form(len(data), lambda offset, length: bytes(data[offset : offset + length]))


def test_a_bundles_form_is_accepted() -> None:
    form(made())
    form(made(used_bytes=5_000))  # a verity bundle: its hash tree follows the image


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "squashfs"),
        (bytes(100_000), "squashfs"),
        (made()[: LEAST_BYTES - 1], "squashfs"),
        (made()[:-1], "no RAUC bundle"),
        (made()[:-50], "no RAUC bundle"),
        (made(used_bytes=9_000), "longer than the file"),
        (made(used_bytes=10), "longer than the file"),
        (made(image_bytes=8_193, used_bytes=8_192), "4 KiB"),
        (made()[:-8] + (0).to_bytes(8, "big"), "signature's size"),
        (made()[:-8] + (65_537).to_bytes(8, "big"), "signature's size"),
        (bytes(made()).replace(b"\x30", b"\x31"), "no signature"),
    ],
)
def test_what_has_not_its_form_is_refused_with_a_reason(data: bytes, says: str) -> None:
    with pytest.raises(NoBundle, match=says):
        form(data)


@given(st.binary(max_size=9_000))
def test_noise_is_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(NoBundle):
        form(data)
