"""Look-ups that may be a second old: never older, never across a change of this process."""

from __future__ import annotations

from aquasmart_cloud.store.recent import LASTS_S, MOST, Recent


class Source:
    """A clock and a value that the test sets; counts how often it is read."""

    def __init__(self) -> None:
        self.now_s, self.value, self.reads = 100.0, "first", 0

    def read(self) -> str:
        self.reads += 1
        return self.value


def test_a_value_is_read_once_a_second() -> None:
    source = Source()
    recent = Recent(lambda: source.now_s)
    assert [recent.get("key", source.read) for _ in range(3)] == ["first"] * 3
    assert source.reads == 1
    source.value = "second"
    source.now_s += LASTS_S - 0.001
    assert recent.get("key", source.read) == "first"
    source.now_s += 0.001
    assert recent.get("key", source.read) == "second"
    assert recent.get("another", source.read) == "second"
    assert source.reads == 3


def test_a_change_of_this_process_is_seen_at_once() -> None:
    source = Source()
    recent = Recent(lambda: source.now_s)
    recent.get("key", source.read)
    source.value = "second"
    recent.forget()
    assert recent.get("key", source.read) == "second"


def test_what_was_read_before_a_change_is_not_kept_after_it() -> None:
    source = Source()
    recent = Recent(lambda: source.now_s)

    def overtaken() -> str:
        before = source.read()
        source.value = "second"
        recent.forget()
        return before

    assert recent.get("key", overtaken) == "first"
    assert recent.get("key", source.read) == "second"


def test_what_may_not_be_kept_is_read_each_time() -> None:
    source = Source()
    recent = Recent(lambda: source.now_s)
    for _ in range(2):
        recent.get("key", source.read, lambda value: value != "first")
    assert source.reads == 2


def test_memory_is_bounded() -> None:
    source = Source()
    recent = Recent(lambda: source.now_s)
    for number in range(MOST + 1):
        recent.get(number, source.read)
    assert len(recent._kept) == 1
