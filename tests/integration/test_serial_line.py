"""The serial adapter over real pseudo-terminals: late, half, noisy, babbling, unplugged; and never a hang.

At the other end stands a thread with a script, not a meter: it says what the test wants said, when it wants.
"""

from __future__ import annotations

import os
import pty
import select
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from aquasmart_station.adapters.serial_port import SerialLine
from aquasmart_station.core.crc16 import crc16
from aquasmart_station.core.errors import BadFrame, LinkDown, NoAnswer
from aquasmart_station.meters.driver import DriverSettings, make_driver
from aquasmart_station.meters.pulse import PulseDriver

PULSE = DriverSettings("tap-1", "pulse", None, Fraction(450), 1_000_000, None, None, 1)
PATIENCE_S = 3.0
"""No exchange may take longer, whatever the line does: 209 ms of silence, as much of waiting, and a loaded machine."""


def line(seq: int, pulses: int) -> bytes:
    body = f"F1,0badcafe,{seq},1000,{pulses},0,1".encode()
    return body + b"*%04X\r\n" % crc16(body)


class OtherEnd:
    """A pseudo-terminal whose far side answers each request by the next entry of a script."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.script: list[Callable[[OtherEnd], None]] = []
        self.requests: list[bytes] = []
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def plug_in(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self.slave))
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        self._closing.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        for descriptor in (self.slave, self.master):
            os.close(descriptor)
        self.link.unlink(missing_ok=True)
        self._thread = None

    def say(self, data: bytes) -> None:
        os.write(self.master, data)

    def _run(self) -> None:
        while not self._closing.is_set():
            if not select.select([self.master], [], [], 0.01)[0]:
                continue
            self.requests.append(os.read(self.master, 100))
            if self.script:
                self.script.pop(0)(self)


def says(*pieces: bytes, gap_s: float = 0.0, after_s: float = 0.0) -> Callable[[OtherEnd], None]:
    def step(end: OtherEnd) -> None:
        time.sleep(after_s)
        for piece in pieces:
            end.say(piece)
            time.sleep(gap_s)

    return step


@contextmanager
def unplugged_soon(end: OtherEnd) -> Iterator[None]:
    timer = threading.Timer(0.05, end.unplug)
    timer.start()
    yield
    timer.join()


def is_silent(_end: OtherEnd) -> None:
    return


@pytest.fixture
def end(tmp_path: Path) -> Iterator[OtherEnd]:
    made = OtherEnd(tmp_path / "tap-1")
    made.plug_in()
    yield made
    if made._thread is not None:
        made.unplug()


@pytest.fixture
def driver() -> PulseDriver:
    made = make_driver(PULSE)
    assert isinstance(made, PulseDriver)
    return made


@pytest.fixture
def port(end: OtherEnd, driver: PulseDriver) -> Iterator[SerialLine]:
    made = SerialLine(end.link, driver.line)
    made.open()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _bounded(request: pytest.FixtureRequest) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 4 * PATIENCE_S


def count(port: SerialLine, driver: PulseDriver) -> int:
    started = time.monotonic()
    try:
        return port.exchange(driver.request(), driver).forward_counts
    finally:
        assert time.monotonic() - started < PATIENCE_S


def test_an_answer_is_stamped_when_it_is_whole(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    whole = line(1, 42)
    end.script = [says(whole[:10], whole[10:], gap_s=0.05)]
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    reading = port.exchange(driver.request(), driver)
    assert reading.forward_counts == 42
    assert before + 40_000_000 <= reading.mono_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert reading.rtt_us >= 40_000
    assert abs(reading.wall_ns - time.time_ns()) < 5_000_000_000
    assert end.requests == [b"?\n"]


def test_byte_by_byte(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    whole = line(1, 42)
    end.script = [says(*(whole[at : at + 1] for at in range(len(whole))), gap_s=0.001)]
    assert count(port, driver) == 42


def test_a_late_answer_is_never_taken_for_the_next_one(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    end.script = [says(line(1, 100), after_s=0.3), says(line(2, 200))]
    with pytest.raises(NoAnswer, match="no answer"):
        count(port, driver)
    assert count(port, driver) == 200


def test_half_an_answer(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    end.script = [says(line(1, 100)[:20]), says(line(2, 200))]
    with pytest.raises(NoAnswer, match="half an answer"):
        count(port, driver)
    assert count(port, driver) == 200


def test_noise_drops_the_poll_and_the_next_one_works(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    end.script = [says(b"\xff\x00\x7f" + line(1, 100)), says(line(2, 200))]
    with pytest.raises(BadFrame):
        count(port, driver)
    assert count(port, driver) == 200


def test_what_follows_a_bad_frame_is_dropped_with_it(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    end.script = [says(b"noise\n", line(1, 100), gap_s=0.05), says(line(2, 200))]
    with pytest.raises(BadFrame):
        count(port, driver)
    time.sleep(0.1)
    assert count(port, driver) == 200


def eventually(port: SerialLine, driver: PulseDriver) -> int:
    """The count, once an answer comes in time: on a busy machine the first ones may not."""
    for _ in range(19):
        try:
            return count(port, driver)
        except (BadFrame, NoAnswer):
            continue
    return count(port, driver)


def test_babble_never_hangs_and_passes(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    babbling = threading.Event()
    babbling.set()

    def babble() -> None:
        os.set_blocking(end.master, False)
        while babbling.is_set():
            try:
                end.say(b"\x55" * 64)
            except BlockingIOError:
                time.sleep(0.001)
            time.sleep(0.0005)

    noise = threading.Thread(target=babble)
    noise.start()
    try:
        for _ in range(3):
            with pytest.raises((BadFrame, NoAnswer)):
                count(port, driver)
    finally:
        babbling.clear()
        noise.join()
    end.script = [says(line(2, 200))] * 20
    assert eventually(port, driver) == 200


def test_silence_lasts_no_longer_than_the_deadline(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    end.script = [is_silent]
    started = time.monotonic()
    with pytest.raises(NoAnswer) as fault:
        count(port, driver)
    assert time.monotonic() - started >= driver.answer_deadline_ms / 1000
    assert "baud" in fault.value.hint


def test_a_caller_may_set_its_own_deadline(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    end.script = [is_silent]
    started = time.monotonic()
    with pytest.raises(NoAnswer):
        port.exchange(driver.request(), driver, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 20_000_000)
    assert time.monotonic() - started < 0.2


def test_unsolicited_lines_answer_nothing(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    end.say(line(1, 100))
    time.sleep(0.05)
    end.script = [says(line(2, 200))]
    assert count(port, driver) == 200


def test_bytes_from_before_the_opening_are_dropped(end: OtherEnd, driver: PulseDriver) -> None:
    end.say(line(1, 100))
    port = SerialLine(end.link, driver.line)
    port.open()
    end.script = [says(line(2, 200))]
    assert count(port, driver) == 200
    port.close()


def test_unplugged_while_waiting(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    with unplugged_soon(end), pytest.raises(LinkDown) as fault:
        count(port, driver)
    assert not port.is_open
    assert "plugged in" in fault.value.hint
    with pytest.raises(LinkDown, match="not open"):
        count(port, driver)


def test_unplugged_between_polls_raises_what_is_no_oserror(
    end: OtherEnd, port: SerialLine, driver: PulseDriver
) -> None:
    assert not issubclass(termios.error, OSError)
    end.script = [says(line(1, 100))]
    count(port, driver)
    end.unplug()
    with pytest.raises(LinkDown):
        count(port, driver)
    assert not port.is_open


def test_unplugged_while_staying_quiet(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    end.script = [says(b"noise\n")]
    with pytest.raises(BadFrame):
        count(port, driver)
    with unplugged_soon(end), pytest.raises(LinkDown):
        count(port, driver)


def test_plugged_in_again_under_the_same_name(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    for round_ in range(1, 4):
        end.unplug()
        with pytest.raises(LinkDown):
            count(port, driver)
        with pytest.raises(LinkDown, match="cannot open"):
            port.open()
        end.plug_in()
        port.open()
        end.script = [says(line(round_, round_ * 100))]
        assert count(port, driver) == round_ * 100


def test_a_port_has_one_owner(end: OtherEnd, port: SerialLine, driver: PulseDriver) -> None:
    second = SerialLine(end.link, driver.line)
    with pytest.raises(LinkDown, match="lock"):
        second.open()
    port.close()
    second.open()
    second.close()
    second.close()


def test_what_is_no_terminal_is_no_port(tmp_path: Path, driver: PulseDriver) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LinkDown, match="cannot open"):
        SerialLine(tmp_path / "file", driver.line).open()


def test_time_is_a_parameter(end: OtherEnd, driver: PulseDriver) -> None:
    port = SerialLine(end.link, driver.line, mono_ns=lambda: 7_000_000, wall_ns=lambda: 9)
    port.open()
    end.script = [says(line(1, 100))]
    reading = port.exchange(driver.request(), driver)
    assert (reading.mono_ns, reading.wall_ns, reading.rtt_us) == (7_000_000, 9, 0)
    port.close()
