"""The acceptance checks H1 to H13, one function each: what was measured, or Failed, or Missing where it cannot be run.

A check returns its measurement in words. H4 stands behind every other: after each, the log's difference must be the
meter's own, to the count.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from tests.fakes.wall_clock import shifted
from tests.hil.rig import IDENTITY, OTHER_IDENTITY, PULSE_MODULUS, Failed, Missing, Rig

ROLLOVER, REVERSE, METER_CHANGE = 9, 10, 8
Check = Callable[[Rig], str]


@dataclass(frozen=True)
class Item:
    """One row of the suite."""

    name: str
    title: str
    limit: str
    check: Check


def identity(rig: Rig) -> str:
    rig.kill_reader(signal.SIGTERM)
    found = rig.command("meter", "probe", "tap-1", "--polls", "10")["meters"][0]
    rig.start_reader()
    if found["answered"] < 9:
        raise Failed(f"{found['answered']} of 10 polls answered: {'; '.join(found['problems'])}")
    if rig.setup.simulated and found["counts"] != rig.register():
        raise Failed(f"it reads {found['counts']}, the meter stands at {rig.register()}: units or word order")
    if rig.setup.simulated and (found["identity"] or None) != rig.spec.identity:
        raise Failed(f"identity {found['identity']}, not {rig.spec.identity}")
    return f"serial {found['identity'] or 'none'}, {found['counts']} counts, round trip {found['rtt_us'] / 1000:.1f} ms"


def polling(rig: Rig) -> str:
    first, seconds = rig.figures(), rig.setup.minutes * 60
    time.sleep(seconds)
    last = rig.figures()
    good, bad = (last[name] - first[name] for name in ("polls_good", "polls_bad"))
    said = f"{good} good, {bad} bad in {seconds:.0f} s, lateness p99 {last['late_p99_ms']} ms"
    if good < seconds or good < 999 * bad:
        raise Failed(said)
    # A simulated line shares its processor with the reader: its lateness says nothing of a station's.
    if not rig.setup.simulated and last["late_p99_ms"] > 20:
        raise Failed(said)
    return said + (" (not judged: simulated)" if rig.setup.simulated else "")


def idle(rig: Rig) -> str:
    before = rig.logged(), rig.register() if rig.setup.simulated else 0
    kinds = len(rig.kinds())
    time.sleep(10)
    after = rig.logged(), rig.register() if rig.setup.simulated else 0
    new = rig.kinds()[kinds:]
    if before != after or REVERSE in new:
        raise Failed(f"{after[0] - before[0]} counts logged while nothing flows")
    return "0 counts in 10 s"


def pours(rig: Rig) -> str:
    rig.needs_water()
    errors = []
    for litres in (1, 5, 20):
        before_ul = rig.command("status")["meters"][0]["log_ul"]
        shown = _weighed(f"Pour {litres} L onto the scale, shut the tap, then enter what the scale shows, in litres: ")
        errors.append(error_percent(rig.command("status")["meters"][0]["log_ul"] - before_ul, shown))
        _person("Empty the vessel and press Enter: ")
    worst = max(errors, key=abs)
    if abs(worst) > Fraction(str(rig.setup.meter_class)):
        raise Failed(f"largest error {float(worst):+.2f} %")
    return f"largest error {float(worst):+.2f} %"


def error_percent(logged_ul: int, shown: Fraction) -> Fraction:
    """How much more the log has than the scale shows, in percent of what it shows; `shown` in litres, above 0."""
    return (Fraction(logged_ul, 1_000_000) / shown - 1) * 100


def _weighed(question: str) -> Fraction:
    """Litres, asked for until a number above 0 is given."""
    while True:
        try:
            found = Fraction(_person(question).strip().replace(",", "."))
        except (ValueError, ZeroDivisionError):
            found = Fraction(0)
        if found > 0:
            return found
        print("a number above 0 such as 5.02")


def unplug(rig: Rig) -> str:
    rig.simulated("a person who pulls the adapter ten times in a pour")
    assert rig.line is not None
    rig.flow(on=True)
    for _ in range(rig.setup.repeats):
        rig.await_state("ok")
        before = rig.logged()
        rig.eventually(lambda before=before: rig.logged() > before, "counts before the unplugging")
        rig.line.set("unplugged")
        rig.await_state("link-down")
        rig.line.set("pass")
    rig.await_state("ok")
    rig.flow(on=False)
    return f"{rig.setup.repeats} times, each seen as link-down and caught up"


def kill(rig: Rig) -> str:
    rig.simulated("a tap that is open for minutes, and a switch in the supply")
    rig.flow(on=True)
    times = 2 * rig.setup.repeats
    for _ in range(times):
        before = rig.logged()
        rig.eventually(lambda before=before: rig.logged() > before, "counts before the kill")
        rig.kill_reader()
        rig.start_reader()
    rig.await_state("ok")
    rig.flow(on=False)
    return f"reader killed {times} times; the power cut is tested with the board (tests/system)"


def power_cycle(rig: Rig) -> str:
    rig.simulated("a person who switches the meter off and on")
    for _ in range(3):
        rig.flow(on=True)
        before = rig.logged()
        rig.eventually(lambda before=before: rig.logged() > before, "counts before the power cycle")
    rig.flow(on=False)
    rig.await_state("ok")
    return "3 times in a pour, totaliser kept"


def swap(rig: Rig) -> str:
    rig.simulated("a second meter")
    if rig.spec.identity is None:
        raise Missing("needs a meter with a serial number")
    rig.start_meter(identity=OTHER_IDENTITY, jump=-500_000)
    rig.await_state("frozen")
    rig.start_meter(jump=0, pattern="steady")
    before = rig.register()
    rig.eventually(lambda: rig.register() > before + 20, "water through the new meter while the port is frozen")
    answer = rig.command("meter", "swap", "tap-1", "--yes")["answer"]
    rig.flow(on=False)
    rig.await_state("ok")
    if answer != "done" or rig.kinds().count(METER_CHANGE) != 1:
        raise Failed(f"the swap was answered: {answer}")
    return f"{IDENTITY} -> {OTHER_IDENTITY}, counted from the count first seen"


def noise(rig: Rig) -> str:
    rig.simulated("a line that can be garbled")
    assert rig.line is not None
    rig.flow(on=True)
    rig.await_state("ok")
    for mode in ("garble", "babble"):
        rig.line.set(mode)  # type: ignore[arg-type]
        time.sleep(1.0)  # what was on the way has been read
        before, good = rig.logged(), rig.figures()["polls_good"]
        time.sleep(3.0)
        booked, guessed = rig.logged() - before, rig.figures()["polls_good"] - good
        rig.line.set("pass")
        if booked or guessed:
            raise Failed(f"{mode}: {guessed} wrong answers were believed, {booked} counts booked of them")
        rig.await_state("ok")
    rig.flow(on=False)
    return "no answer believed in 3 s of wrong checksums and 3 s of babble; synchronous again at once"


def clock(rig: Rig) -> str:
    if shutil.which("faketime") is None:
        raise Missing("needs faketime")
    rig.simulated("a board whose clock may be set")
    rig.flow(on=True)
    for shift in ("+1d", "-1d"):
        rig.kill_reader(signal.SIGTERM)
        rig.start_reader(under=shifted(shift))
        before = rig.logged()
        rig.eventually(lambda before=before: rig.logged() > before, f"counts under a clock of {shift}")
    rig.kill_reader(signal.SIGTERM)
    rig.start_reader()
    rig.await_state("ok")
    rig.flow(on=False)
    return "started a day ahead and a day behind, in a pour"


def rollover(rig: Rig) -> str:
    rig.simulated("a register near its end")
    if rig.spec.driver != "pulse":
        raise Missing("needs a register near its end; the simulated pulse bridge has one")
    rig.flow(on=True)
    rig.eventually(lambda: ROLLOVER in rig.kinds(), "a rollover")
    rig.flow(on=False)
    return f"modulus {PULSE_MODULUS}, {rig.kinds().count(ROLLOVER)} rollover(s) unwrapped"


def reverse(rig: Rig) -> str:
    rig.simulated("a valve that can be closed, and backflow")
    rig.start_meter(pattern="backflow")
    before = rig.kinds().count(REVERSE)
    rig.eventually(lambda: rig.kinds().count(REVERSE) > before, "backflow reported")
    rig.start_meter(pattern="steady")
    rig.eventually(lambda: not rig.figures()["reverse_debt_counts"], "what ran backwards was repaid")
    rig.flow(on=False)
    return "backflow reported, nothing counted twice; the drip behind a closed valve needs water: NOT RUN"


def _person(question: str) -> str:
    """A person's answer. Raises Missing without one."""
    with contextlib.suppress(EOFError):
        return input(question)
    raise Missing("needs a person at the terminal")


ITEMS = (
    Item("H1", "identity, units, word order", "9 of 10 polls; the register's own count", identity),
    Item("H2", "polling", "99.9 % good; lateness p99 20 ms", polling),
    Item("H3", "idle: no counts, no decrease", "0 counts", idle),
    Item("H5", "pours of 1, 5, 20 L against a scale", "the meter's class", pours),
    Item("H6", "unplugged in a pour", "0 counts apart", unplug),
    Item("H7", "reader killed in a pour", "0 counts apart", kill),
    Item("H8", "meter power cycled in a pour", "0 counts apart", power_cycle),
    Item("H9", "meter swapped", "0 counts apart, one change", swap),
    Item("H10", "wrong checksums, babble", "no wrong answer believed", noise),
    Item("H11", "clock one day off", "0 counts apart", clock),
    Item("H12", "rollover", "0 counts apart", rollover),
    Item("H13", "reverse flow, drip", "0 counts apart", reverse),
)
