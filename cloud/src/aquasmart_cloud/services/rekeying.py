"""Another master key: `aquasmart-cloud rekey`. The steps and their order live here; files and rows in store.

1. `FILE.next` is written, a fresh key. 2. The current key is kept as `FILE.previous`. 3. `FILE.next` becomes `FILE` by
a rename. 4. Everything is sealed anew. 5. `FILE.previous` is removed.

Killed anywhere, nothing is lost: every step leaves each key that anything is sealed with in one of the three files,
running processes open with all of them, and the same command goes on where it was: before step 3 from the beginning
(with the key that is waiting), after it with step 4, which passes over what is done.

Nothing is left behind under the former key: whoever seals asks for the key within the transaction that stores it, and
a portion of step 4 runs alone. A transaction that took the former key before step 3 is over before the first portion
begins, and is seen by it; one that begins later finds the new key's file.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.keyring import (
    NEXT,
    PREVIOUS,
    beside,
    read_keys,
    remove_durably,
    rename_durably,
    write_key,
)
from aquasmart_cloud.store.resealing import Progress, Resealed, reseal

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """What was done. `resumed`: a former one, broken off, was brought to its end, and no new key was made."""

    resumed: bool
    resealed: Resealed


def make_next(file: Path) -> Path:
    """Only step 1: for several machines, which all must have the coming key before one of them seals with it.

    One that is there already is kept. Errors: SealError, OSError.
    """
    keys = read_keys(file)
    if keys.coming is None:
        write_key(beside(file, NEXT), secrets.token_bytes(KEY_BYTES), file)
    return beside(file, NEXT)


def rekey(file: Path, database: Database, progress: Progress = lambda *_: None) -> Rekeyed:
    """Change the master key, or bring a change that was broken off to its end. Errors: SealError, DatabaseError,
    OSError; then the same command goes on.
    """
    keys = read_keys(file)
    broken_off = keys.previous is not None and keys.previous != keys.current
    if broken_off and keys.coming is None:
        return Rekeyed(resumed=True, resealed=_seal_anew(file, database, progress))
    if broken_off:
        _seal_anew(file, database, progress)
    make_next(file)
    write_key(beside(file, PREVIOUS), keys.current, file)
    rename_durably(beside(file, NEXT), file)
    return Rekeyed(resumed=False, resealed=_seal_anew(file, database, progress))


def _seal_anew(file: Path, database: Database, progress: Progress) -> Resealed:
    done = reseal(database, read_keys(file), progress)
    remove_durably(beside(file, PREVIOUS))
    return done
