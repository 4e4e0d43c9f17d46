"""`make hil-test PORT=… METER=…`: run the suite and write the report. Exit status: 0 nothing failed, 1 a check failed,
2 no meter was found.
"""

from __future__ import annotations

import argparse
import getpass
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from aquasmart_station import __version__
from tests.hil.checks import ITEMS
from tests.hil.mutants import MUTANTS
from tests.hil.report import FAILED, NOT_RUN, PASSED, Report, Verdict
from tests.hil.rig import Failed, Missing, Rig, Setup

NO_METER = 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make hil-test", description=__doc__)
    parser.add_argument("--port", required=True, help="/dev/serial/by-path/… or sim")
    parser.add_argument("--meter", required=True, choices=("pulse", "modbus"))
    parser.add_argument("--profile")
    parser.add_argument("--k-factor", default="450", help="pulse: pulses per litre")
    parser.add_argument("--minutes", type=float, default=None, help="how long H2 polls: 10, simulated 0.2")
    parser.add_argument("--repeats", type=int, default=None, help="how often H6 unplugs (H7 twice that): 10")
    parser.add_argument(
        "--class", dest="meter_class", type=float, default=2.0, help="the meter's accuracy class, per cent"
    )
    parser.add_argument("--operator", default=getpass.getuser())
    parser.add_argument("--only", help="checks by name, H1,H3")
    parser.add_argument("--out", type=Path, default=Path("build/hil"))
    parser.add_argument("--mutant", choices=MUTANTS, help="sabotage the reader: the suite must fail")
    chosen = parser.parse_args()
    if not chosen.port:
        parser.error("say which port: PORT=/dev/serial/by-path/… or PORT=sim")
    return chosen


def judged(rig: Rig, item_name: str) -> list[Verdict]:
    """H4 after a check: the log's difference is the meter's own."""
    if not rig.setup.simulated:
        rig.kill_reader(signal.SIGTERM)
    try:
        counted, logged = rig.lifetime() - rig.zero, rig.settle()
    except Missing as missing:
        return [Verdict("H4", f"log = register after {item_name}", "0 counts apart", str(missing), NOT_RUN)]
    finally:
        if not rig.setup.simulated:
            rig.start_reader()
    said = f"meter {counted}, log {logged}: {abs(counted - logged)} counts apart"
    verdict = PASSED if counted == logged else FAILED
    return [Verdict("H4", f"log = register after {item_name}", "0 counts apart", said, verdict)]


def run(rig: Rig, only: set[str]) -> list[Verdict]:
    """Every check, each followed by H4."""
    verdicts: list[Verdict] = []
    for item in ITEMS:
        if only and item.name not in only:
            continue
        began = time.monotonic()
        try:
            measured, verdict = item.check(rig), PASSED
        except Missing as missing:
            measured, verdict = str(missing), NOT_RUN
        except Failed as failed:
            measured, verdict = str(failed), FAILED
        seconds = time.monotonic() - began
        verdicts.append(Verdict(item.name, item.title, item.limit, measured, verdict, seconds))
        print(f"{item.name:<4} {verdict:<8} {item.title}: {measured}", flush=True)
        if verdict != NOT_RUN:
            if rig.setup.simulated:
                rig.flow(on=False)
            verdicts += judged(rig, item.name)
            print(f"H4   {verdicts[-1].verdict:<8} {verdicts[-1].measured}", flush=True)
    return verdicts


def main() -> int:
    chosen = arguments()
    simulated = chosen.port == "sim"
    if simulated:
        print("SIMULATED: no real meter, no water", flush=True)
    with tempfile.TemporaryDirectory(prefix="aquasmart-hil-") as folder:
        setup = Setup(
            port=chosen.port, meter=chosen.meter, profile=chosen.profile, k_factor=chosen.k_factor,
            folder=Path(folder), operator=chosen.operator, mutant=chosen.mutant, meter_class=chosen.meter_class,
            minutes=chosen.minutes if chosen.minutes is not None else 0.2 if simulated else 10.0,
            repeats=chosen.repeats or 10,
        )  # fmt: skip
        rig = Rig(setup)
        try:
            rig.open()
            found = rig.find()
            rig.begin()
            verdicts = run(rig, set(filter(None, (chosen.only or "").split(","))))
        except (Missing, Failed) as missing:
            print(f"no meter found: {missing}", file=sys.stderr)
            return NO_METER
        finally:
            rig.close()
    facts = {
        "meter": f"{chosen.meter} {chosen.profile or ''}".strip(),
        "serial": found["identity"] or "none",
        "adapter": chosen.port,
        "software": f"aquasmart-station {__version__}" + (f", SABOTAGED: {chosen.mutant}" if chosen.mutant else ""),
        "operator": chosen.operator,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    report = Report(facts, verdicts, simulated)
    report.write(chosen.out)
    print(f"{report.summary()}; {chosen.out}/hil.txt, hil.html, hil.xml")
    return 1 if any(each.verdict == FAILED for each in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
