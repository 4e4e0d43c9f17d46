"""RAUC, by its command and its JSON: what a bundle says, the slots, installing, marking.

The command asks RAUC's own service over D-Bus where it changes anything; a bundle's signature is verified by RAUC with
the keyring of `/etc/rauc/system.conf`, before anything of it is believed. No library: the same words as a technician's.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..core.errors import UpdateError
from ..core.phrases import Phrase, joined
from ..core.updating import BundleInfo, number_of

ASK_S = 60
"""For everything but an installation: checking a signature reads a bundle's last kilobytes only."""
LOOK_S = 1.0
_PROGRESS = re.compile(r"^\s*(\d{1,3})%\s+(.*\S)")
_CHATTER = re.compile(
    r"^(\([\w./-]+:\d+\): )?(rauc-)?(WARNING|Message|DEBUG|INFO)\b|^\d{1,2}:\d\d:\d\d|^$", re.IGNORECASE
)
_HINTS = {
    "signature": Phrase("It was not signed by who may update this station, or was damaged on the way. Get it again."),
    "keyring": Phrase(
        "/etc/rauc/keyring.pem must hold the certificate that bundles are signed under: flash the image."
    ),
    "compatible": Phrase("It is made for another board."),
    "older than": Phrase("A station never goes back to what a newer image mended. Get a bundle with a larger number."),
    "on trial": Phrase("Wait until the present image is marked good, or has gone back."),
    "too small": Phrase("The bundle is damaged. Get it again."),
    "invalid": Phrase("It is no bundle, or only a part of one. Get it again."),
    "dm-verity": Phrase("The kernel cannot check what it would install (no dm-verity): flash a newer image."),
    "already processing": Phrase("Another installation is under way: aquasmart update status."),
    "no such file": Phrase("Is the path right?"),
}


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the two slots. `version` and `number` are those of the bundle that RAUC wrote there, if it did."""

    name: str
    bootname: str
    booted: bool
    bootable: bool
    """The boot loader would start it: it is good, or has tries left."""
    version: str
    number: int | None
    installed_at: str

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """RAUC's view of the machine."""

    compatible: str
    booted: str
    """The boot loader's name of the slot that runs: A or B."""
    primary: str
    """RAUC's name of the slot that will be started next."""
    slots: tuple[Slot, ...]


class Rauc:
    """The command. `program` is what is run as `rauc`, with the words that come before RAUC's own."""

    def __init__(self, *program: str) -> None:
        self._program = program or ("rauc",)

    def info(self, path: Path) -> BundleInfo:
        """What a bundle says of itself. Raises UpdateError: not there, not whole, not signed by one we trust."""
        said = self._json("info", "--output-format=json", str(path))
        update: Mapping[str, Any] = said["update"] if isinstance(said.get("update"), dict) else said
        version, compatible = str(update.get("version") or ""), str(update.get("compatible") or "")
        return BundleInfo(version, number_of(update.get("build") or ""), compatible)

    def status(self) -> SlotStatus:
        """The slots. Raises UpdateError where RAUC does not answer."""
        said = self._json("status", "--detailed", "--output-format=json")
        slots = [_slot(name, slot) for entry in said.get("slots", []) for name, slot in entry.items()]
        return SlotStatus(
            str(said.get("compatible") or ""),
            str(said.get("booted") or ""),
            str(said.get("boot_primary") or ""),
            tuple(sorted(slots, key=lambda slot: slot.name)),
        )

    def install(self, path: Path, on_progress: Callable[[int, str], None]) -> None:
        """Write a bundle into the slot that does not run, and have the boot loader try it next. Minutes.

        RAUC's service does the work: where this process ends before, it goes on. `on_progress`: per cent and words,
        once a second at least, however long RAUC says nothing; what it raises ends the waiting.
        Raises UpdateError; the slot that runs was not touched.
        """
        said: list[str] = []
        percent, words = 0, ""
        with self._started("install", str(path)) as process:
            lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
            threading.Thread(target=_read_into, args=(process.stdout, lines), daemon=True).start()
            try:
                while (line := _next(lines)) is not None:
                    found = _PROGRESS.match(line)
                    if found:
                        percent, words = int(found[1]), found[2]
                    elif line:
                        said.append(line.rstrip())
                    if words:
                        on_progress(percent, words)
            except BaseException:
                process.kill()  # the command only: RAUC's service goes on
                raise
        if process.returncode:
            raise _error(said, Phrase("the bundle was not installed"))

    def mark_good(self) -> None:
        """Tell the boot loader that the slot which runs is good. Raises UpdateError."""
        self._run("status", "mark-good", "booted")

    def _json(self, *words: str) -> dict[str, Any]:
        output = self._run(*words)
        try:
            said = json.loads(output[output.index("{") :])
        except ValueError as fault:
            raise UpdateError(
                Phrase("rauc {command} said no JSON", command=words[0]), hint=Phrase("Is this RAUC built with JSON?")
            ) from fault
        return dict(said)

    def _run(self, *words: str) -> str:
        """What the command says. Its standard error becomes the error's text."""
        try:
            done = subprocess.run([*self._program, *words], capture_output=True, text=True, timeout=ASK_S, check=False)
        except subprocess.TimeoutExpired as fault:
            raise UpdateError(
                Phrase("rauc {command} does not answer", command=words[0]),
                hint=Phrase("`systemctl status rauc` tells more."),
            ) from fault
        except OSError as fault:
            raise _missing(fault) from fault
        if done.returncode:
            lines = done.stderr.splitlines() or done.stdout.splitlines()
            raise _error(lines, Phrase("rauc {command} failed", command=words[0]))
        return done.stdout

    def _started(self, *words: str) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                [*self._program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
                start_new_session=True,
            )  # fmt: skip
        except OSError as fault:
            raise _missing(fault) from fault


def _read_into(output: IO[str] | None, lines: queue.SimpleQueue[str | None]) -> None:
    """Every line of a program, and None at its end."""
    with contextlib.suppress(ValueError):  # closed under us
        for line in output or ():
            lines.put(line)
    lines.put(None)


def _next(lines: queue.SimpleQueue[str | None]) -> str | None:
    """The next line; empty where there is none for a while, None at the end."""
    try:
        return lines.get(timeout=LOOK_S)
    except queue.Empty:
        return ""


def _slot(name: str, said: Mapping[str, Any]) -> Slot:
    status = said.get("slot_status") or {}
    bundle, installed = status.get("bundle") or {}, status.get("installed") or {}
    try:
        number = number_of(bundle.get("build") or "")
    except UpdateError:
        number = None  # written by the flashing, or by something that had no number
    return Slot(
        name=name,
        bootname=str(said.get("bootname") or ""),
        booted=said.get("state") == "booted",
        bootable=said.get("boot_status") == "good",
        version=str(bundle.get("version") or ""),
        number=number,
        installed_at=str(installed.get("timestamp") or ""),
    )


def _missing(fault: OSError) -> UpdateError:
    return UpdateError(
        Phrase("rauc cannot be run: {strerror}", strerror=fault.strerror),
        hint=Phrase("Was this station made from an image?"),
    )


def _error(lines: list[str], what: str) -> UpdateError:
    """The last thing that RAUC said, without its log's decoration, and what to do about it."""
    said = [line for line in lines if not _CHATTER.match(line.strip())]
    words = (said or [line for line in lines if line.strip()] or [""])[-1].strip()
    hint = next(
        (text for mark, text in _HINTS.items() if mark in words.lower()), Phrase("`journalctl -u rauc` tells more.")
    )
    return UpdateError(
        joined(": ", [what, words.removeprefix("LastError: ") or Phrase("it did not say why")]), hint=hint
    )
