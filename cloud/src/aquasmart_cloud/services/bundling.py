"""Taking in a bundle: to the disk in constant memory, looked at, known by its SHA-256; and letting one go.

Killed at any point nothing is half there: the file gets its name only when it is whole, fsync'd and found to be a
bundle, and its row after that. What was cut off is a `.part` file, swept by the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aquasmart_cloud.core.alert_kinds import CLOUD
from aquasmart_cloud.core.rauc_form import NoBundle, check_form
from aquasmart_cloud.core.rollouts import Bundle, Facts, facts_faults
from aquasmart_cloud.outgoing.rauc import read_facts
from aquasmart_cloud.store import bundles, intake_log
from aquasmart_cloud.store.bundles import BundleError
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.intake_log import Occasion

DEFAULT_MOST_BYTES = 2 << 30
PIECE_BYTES = 1 << 20
ABANDONED_S = 86_400
"""A part that nobody has written to for so long is nobody's any more."""
_PART = re.compile(r"[0-9a-f]{32}\.part")


@dataclass(frozen=True, slots=True)
class Said:
    """What whoever adds a bundle says of it; what `rauc` reads in it must agree."""

    version: str = ""
    number: int = 0
    compatible: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where bundles lie, and what is asked of them."""

    database: Database
    folder: Path
    most_bytes: int = DEFAULT_MOST_BYTES
    keyring: Path | None = None
    """Of the certificates that bundles are signed with; None: signatures are left to the stations."""

    def add(self, pieces: Iterable[bytes], said: Said, occasion: Occasion) -> Bundle:
        """Take in a bundle, piece by piece. The same again changes nothing.

        Errors: NoBundle for what is none or not what was said, BundleError for one that is too large or finds no
        room, OSError, DatabaseError; nothing is kept then.
        """
        part = self._new_part()
        try:
            sha256, size_bytes = self._write(part, pieces)
            check_form(size_bytes, lambda offset, length: _read(part, offset, length))
            facts, verified = self._facts(part, said)
            target = bundles.file_of(self.folder, sha256)
            _hand_over(part)
            part.replace(target)
            _sync_folder(self.folder)
        finally:
            part.unlink(missing_ok=True)
        bundle = Bundle(sha256, size_bytes, *facts, verified, occasion.now_ms, occasion.by)
        with self.database.writing() as connection:
            known = bundles.find(connection, sha256)
            if known is not None:
                return known
            detail = {"sha256": sha256, "version": facts.version, "number": facts.number, "verified": verified}
            intake_log.note(connection, CLOUD, occasion, "bundle-added", detail)
            return bundles.put(connection, bundle)

    def remove(self, name: str, occasion: Occasion) -> Bundle:
        """Let a bundle go, and its file. Errors: BundleError, DatabaseError; OSError where the file stays."""
        with self.database.writing() as connection:
            found = bundles.named(connection, name)
            bundles.forget(connection, found, occasion.now_ms)
            detail = {"sha256": found.sha256, "version": found.version, "number": found.number}
            intake_log.note(connection, CLOUD, occasion, "bundle-removed", detail)
        bundles.file_of(self.folder, found.sha256).unlink(missing_ok=True)
        return found

    def _new_part(self) -> Path:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _hand_over(self.folder)
        for each in self.folder.iterdir():
            if _PART.fullmatch(each.name):
                with contextlib.suppress(OSError):  # somebody else swept it
                    if time.time() - each.stat().st_mtime > ABANDONED_S:
                        each.unlink()
        return self.folder / f"{secrets.token_hex(16)}.part"

    def _write(self, part: Path, pieces: Iterable[bytes]) -> tuple[str, int]:
        digest, size_bytes = hashlib.sha256(), 0
        with part.open("xb", buffering=0) as file:
            part.chmod(0o600)
            for piece in pieces:
                size_bytes += len(piece)
                if size_bytes > self.most_bytes:
                    raise BundleError(
                        f"the bundle is above {self.most_bytes >> 20} MiB", "AQUASMART_BUNDLE_MOST_MIB sets the limit"
                    )
                if shutil.disk_usage(self.folder).free < len(piece) + self._kept_free():
                    raise BundleError(
                        f"{self.folder} has no room for this bundle", "'aquasmart-cloud bundle remove' makes room"
                    )
                digest.update(piece)
                written = 0
                while written < len(piece):
                    written += file.write(piece[written:])
            os.fsync(file.fileno())
        return digest.hexdigest(), size_bytes

    def _kept_free(self) -> int:
        """The books may lie on the same disk: a bundle never takes their last room."""
        return min(256 << 20, shutil.disk_usage(self.folder).total // 20)

    def _facts(self, part: Path, said: Said) -> tuple[Facts, bool]:
        """What it is, by `rauc` where there is one with a keyring; and whether its signature was verified."""
        read = None if self.keyring is None else read_facts(part, self.keyring)
        if read is None:
            lacking = [name for name in ("version", "number", "compatible") if not getattr(said, name)]
            if lacking:
                raise BundleError(
                    f"say the bundle's {' and '.join(lacking)}: it cannot be read here",
                    "where rauc is installed and AQUASMART_RAUC_KEYRING names the keyring, it is read and verified",
                )
        facts = read or Facts(said.version, said.number, said.compatible)
        for name in ("version", "number", "compatible"):
            told, found = getattr(said, name), getattr(facts, name)
            if told and told != found:
                raise NoBundle(f"the bundle's {name} is {found}, not {told}", "leave it out, or add the right file")
        if faults := facts_faults(facts):
            raise NoBundle("; ".join(faults), "see 'rauc info' of the file")
        return facts, read is not None


def pieces_of(path: Path) -> Iterable[bytes]:
    """A file's bytes, piece by piece. Errors: OSError."""
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _hand_over(path: Path) -> None:
    """What root's command makes belongs to whoever owns the folder around it: the cloud's user must read it."""
    if os.geteuid() == 0:
        around = path.parent.stat()
        os.chown(path, around.st_uid, around.st_gid)


def _sync_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
