"""What is well with a cloud and what is not, each with what to do next: the checks behind `aquasmart-cloud doctor`.

Looks only: nothing is repaired, stored or sent. A check that cannot look says so and lets the others look. What is
asked of the database stands in store.examining.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aquasmart_cloud.config import Config
from aquasmart_cloud.core.errors import CloudError
from aquasmart_cloud.store import examining, migrating
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.keyring import NEXT, PREVIOUS, beside, read_keys
from aquasmart_cloud.store.rates import SharedCounter, counter_at
from aquasmart_cloud.store.resealing import unreadable

GOOD, WARNING, BAD, UNKNOWN = "good", "warning", "bad", "unknown"
CLOCK_OFF_MS = 2_000
"""Between two machines with NTP there are milliseconds; the protocol allows stations five minutes."""
LITTLE_BYTES, TOO_LITTLE_BYTES = 2 << 30, 256 << 20
"""Room on the disk: for some weeks of a small fleet; less than one checkpoint, a backup and their logs need."""
BACKUP_TOO_OLD_MS = 26 * 3_600_000
"""A daily one, and two hours for it to run late."""
_VOLATILE = {"tmpfs", "ramfs", "overlay"}
_SHARED = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"}
_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, in words, and what to do next where something is to be done."""

    what: str
    state: str
    said: str
    next: str = ""


Findings = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Patient:
    """The cloud that is looked at, and when."""

    config: Config
    database: Database
    now_ms: int
    backups: Path | None = None


def examine(patient: Patient) -> Findings:
    """Every finding, in the order in which a person would mend them. Never fails."""
    for what, check in CHECKS.items():
        try:
            for finding in check(patient):
                yield Finding(what, *finding)
        except (CloudError, OSError) as fault:
            yield Finding(what, BAD, str(fault).partition("\n")[0], getattr(fault, "hint", ""))


Line = tuple[str, str] | tuple[str, str, str]


def _files(patient: Patient) -> Iterator[Line]:
    file = patient.config.master_key_file
    if file is None:
        return
    folder = file.resolve().parent
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022:
        yield BAD, f"others may replace what is in {folder} (mode {mode:04o})", f"chmod go-w {folder}"
    database = Path(patient.database.name)
    if patient.database.kind == "sqlite" and database.is_file():
        state = database.stat()
        if state.st_uid != file.stat().st_uid:
            yield WARNING, f"{file} and {database} have different owners", "chown both to the user that runs the cloud"
        if state.st_mode & 0o007:
            yield WARNING, f"every user of this machine may read {database}", f"chmod o-rwx {database}*"
    keys = read_keys(file)
    if keys.previous is not None:
        yield WARNING, f"{beside(file, PREVIOUS)} is there: a rekey was broken off", "aquasmart-cloud rekey"
    if keys.coming is not None:
        yield WARNING, f"{beside(file, NEXT)} waits to become the master key", "aquasmart-cloud rekey"
    yield GOOD, f"{file} is its owner's alone"


def _schema(patient: Patient) -> Iterator[Line]:
    current, newest = migrating.current_revision(patient.database), migrating.newest_revision()
    name = patient.database.name
    if current == newest:
        yield GOOD, f"{name} answers, at revision {current}"
    else:
        yield BAD, f"{name} is at revision {current or 'none'}, not {newest}", "aquasmart-cloud db upgrade"


def _secrets(patient: Patient) -> Iterator[Line]:
    if patient.config.master_key_file is None:
        return
    lost = list(islice(unreadable(patient.database, read_keys(patient.config.master_key_file)), 6))
    if not lost:
        yield GOOD, "the master key opens every stored secret"
        return
    named = ", ".join(lost[:5]) + (" …" if len(lost) > 5 else "")
    yield (
        BAD,
        f"the master key does not open {named}",
        "is it this database's key? If another one is lost: docs/runbook-keys.md, 'Lost'",
    )


def _durability(patient: Patient) -> Iterator[Line]:
    found = examining.settings(patient.database)
    said = ", ".join(f"{name} {value}" for name, value in found.items())
    if patient.database.kind == "sqlite":
        if found != {"journal_mode": "wal", "synchronous": "2"}:
            yield BAD, f"an acknowledged batch could be lost: {said}", "report it: the cloud sets both itself"
            return
        kind = _file_system(Path(patient.database.name))
        if kind in _SHARED:
            yield BAD, f"the database is on {kind}, where its locks do not hold", "move it to a local disk"
        elif kind in _VOLATILE:
            yield WARNING, f"the database is on {kind}: does it survive a restart of this machine?", "move it to a disk"
    elif "off" in found.values():
        yield (
            BAD,
            f"a power cut could take what was acknowledged: {said}",
            "set them on in postgresql.conf",
        )
        return
    yield GOOD, f"what is acknowledged is on the disk: {said}"


def _file_system(path: Path) -> str:
    """Of the longest mount point above a path; '' where that cannot be told."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    whole = path.resolve()
    above = [(len(point), kind) for point, kind in mounts if whole.is_relative_to(point.replace("\\040", " "))]
    return max(above, default=(0, ""))[1]


def _clock(patient: Patient) -> Iterator[Line]:
    behind_ms = examining.clock_ms(patient.database) - patient.now_ms
    heard_ms = examining.last_heard_ms(patient.database)
    mend = "timedatectl: let NTP set the clock of every machine of the cloud"
    if abs(behind_ms) > CLOCK_OFF_MS:
        yield BAD, f"this machine's clock is {abs(behind_ms) / 1000:.0f} s off that of the database's", mend
    elif heard_ms is not None and heard_ms > patient.now_ms + CLOCK_OFF_MS:
        ahead_s = (heard_ms - patient.now_ms) / 1000
        yield BAD, f"a station was heard {ahead_s:.0f} s from now: this clock, or another machine's, is wrong", mend
    else:
        yield GOOD, "this clock agrees with the database's and with the last heartbeats"


def _disk(patient: Patient) -> Iterator[Line]:
    if patient.database.kind != "sqlite":
        yield UNKNOWN, "the database is another machine's", "watch its disk there"
        return
    free = shutil.disk_usage(Path(patient.database.name).resolve().parent).free
    said = f"{free / (1 << 30):.1f} GiB free beside {patient.database.name}"
    mend = "make room, or let old months go: aquasmart-cloud db let-go (docs/scaling.md)"
    if free < TOO_LITTLE_BYTES:
        yield BAD, said, mend
    elif free < LITTLE_BYTES:
        yield WARNING, said, mend
    else:
        yield GOOD, said


def _rates(patient: Patient) -> Iterator[Line]:
    counter = counter_at(patient.config.rate_limit_storage, patient.config.rate_limit_password)
    if not isinstance(counter, SharedCounter):
        yield GOOD, "rates are counted by each process for itself"
        return
    fault = counter.fault()
    if fault is None:
        yield GOOD, "rates are counted in Redis, for all processes together"
    else:
        yield (
            WARNING,
            f"Redis does not answer ({fault}): each process counts rates for itself, nobody is refused by it",
            "is it running, and is AQUASMART_RATE_LIMIT_STORAGE its address?",
        )


def _worker(patient: Patient) -> Iterator[Line]:
    lease = examining.worker_lease(patient.database)
    start = "start one: aquasmart-cloud worker"
    if lease is None:
        yield UNKNOWN, "no worker has ever run on this database", start
        return
    if not lease.expires_at:
        yield BAD, f"the worker {lease.holder} was stopped, and no other was started", start
        return
    late_ms = examining.clock_ms(patient.database) - lease.expires_at
    if late_ms > 0:
        yield BAD, f"the worker {lease.holder} was last heard more than {late_ms / 1000:.0f} s ago", start
    else:
        yield GOOD, f"the worker {lease.holder} is alive"
    for job in examining.failing_jobs(patient.database):
        yield WARNING, f"its job {job.name} has failed {job.failures} times: {job.error}", "the worker's log says more"


def _backup(patient: Patient) -> Iterator[Line]:
    if patient.backups is None:
        yield UNKNOWN, "nobody said where backups are", "aquasmart-cloud doctor --backups FOLDER"
        return
    found = [path for path in patient.backups.iterdir() if path.is_file() and _is_backup(path)]
    if not found:
        yield BAD, f"there is no backup in {patient.backups}", f"aquasmart-cloud backup {patient.backups}/FILE"
        return
    newest = max(found, key=lambda path: path.stat().st_mtime)
    age_ms = patient.now_ms - int(newest.stat().st_mtime * 1000)
    said = f"{newest} is {age_ms / 3_600_000:.0f} h old"
    if age_ms > BACKUP_TOO_OLD_MS:
        yield WARNING, said, f"aquasmart-cloud backup {patient.backups}/FILE, each day"
    else:
        yield GOOD, said


def _is_backup(path: Path) -> bool:
    if path.name.endswith(".unfinished"):
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _open(patient: Patient) -> Iterator[Line]:
    failures, differences = examining.open_failures(patient.database), examining.open_differences(patient.database)
    if failures:
        yield WARNING, f"{failures} foreign events could not be read", "aquasmart-cloud failed list"
    if differences:
        yield (
            WARNING,
            f"{differences} named differences are open",
            "see the fleet page, and docs/operator.md, 'The books'",
        )
    if not failures and not differences:
        yield GOOD, "no failed event and no named difference is open"


CHECKS: dict[str, Callable[[Patient], Iterator[Line]]] = {
    "files": _files,
    "schema": _schema,
    "durability": _durability,
    "secrets": _secrets,
    "clock": _clock,
    "disk": _disk,
    "rates": _rates,
    "worker": _worker,
    "backup": _backup,
    "open": _open,
}
"""Each check under its name, as `--json` has it."""
