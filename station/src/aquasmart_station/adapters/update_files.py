"""What is kept about updates: the image's own description, the highest good number, the trial, the mark of this boot.

`/var/lib/aquasmart-update` is root's and lies on the data partition, so that it outlives both slots. Whoever can write
there as root, or put the partition back to an earlier day, can lower the highest good number; the image's own number,
in a slot whose content is signed, is the second floor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.errors import UpdateError
from ..core.phrases import Phrase
from ..core.updating import ImageInfo, image_of, number_of
from .durable_files import write_durably

TRIAL_WORD = "aquasmart.trial"
"""The boot script gives it to the kernel of a boot that it has counted (yocto-layer, boot.cmd.in)."""


class UpdateFiles:
    """Small files. Nothing is made before it is needed."""

    def __init__(
        self,
        state: Path = Path("/var/lib/aquasmart-update"),
        runtime: Path = Path("/run/aquasmart-update"),
        image: Path = Path("/etc/aquasmart/image.json"),
        command_lines: tuple[Path, ...] = (Path("/proc/cmdline"), Path("/proc/1/cmdline")),
    ) -> None:
        self._state, self._runtime, self._image, self._command_lines = state, runtime, image, command_lines

    def image(self) -> ImageInfo:
        """What runs. Raises UpdateError where this is no image, or a damaged one."""
        try:
            document = json.loads(self._image.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UpdateError(
                Phrase("this station was not made from an image"),
                hint=Phrase("Its packages are updated by apt: docs/technician.md."),
            ) from None
        except (OSError, ValueError) as fault:
            raise UpdateError(
                Phrase("{path} cannot be read: {fault}", path=self._image, fault=fault), hint=Phrase("Flash the image.")
            ) from fault
        return image_of(document if isinstance(document, dict) else {})

    def highest_good(self) -> int:
        """0 where nothing was marked good yet, or the file holds no number: the image's own is the floor then."""
        return self.readable_highest_good() or 0

    def readable_highest_good(self) -> int | None:
        """As `highest_good`; None where this process may not read it: it is not known then, and not 0."""
        try:
            return number_of((self._state / "highest-good").read_text(encoding="ascii", errors="replace"))
        except PermissionError:
            return None
        except (OSError, UpdateError):
            return 0

    def record_good(self, number: int) -> None:
        """Raise the highest good number, durably; it never falls. No secret: a technician reads it. Raises OSError."""
        if number > self.highest_good():
            self._make_folder()
            write_durably(self._state / "highest-good", f"{number}\n", 0o644)

    def _make_folder(self) -> None:
        # Its names are root's; who knows one may read what is for all.
        self._state.mkdir(mode=0o711, parents=True, exist_ok=True)

    def expect(self, number: int, meters: list[str]) -> None:
        """Before an installation: these meters the new image must read. Raises OSError."""
        self._make_folder()
        write_durably(self._state / "trial.json", json.dumps({"number": number, "meters": meters}) + "\n", 0o600)

    def expected(self, number: int) -> frozenset[str]:
        """The meters that the image of this number must read; empty where nothing was noted for it."""
        try:
            noted: dict[str, Any] = json.loads((self._state / "trial.json").read_text(encoding="utf-8"))
            return frozenset(map(str, noted["meters"])) if noted["number"] == number else frozenset()
        except (OSError, ValueError, KeyError, TypeError):
            return frozenset()

    def boot(self) -> str:
        """`fallback`: a trial, with a good slot to go back to. `last`: counted by the boot loader, and no slot is known
        to be good. Empty: nothing is counted.

        Of the kernel's command line; in a container, of its first process, as systemd itself reads it there.
        """
        for path in self._command_lines:
            try:
                words = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").split()
            except OSError:
                continue
            for word in words:
                name, _, value = word.partition("=")
                if name == TRIAL_WORD:
                    return "fallback" if value == "fallback" else "last"
        return ""

    def marked_good(self) -> bool:
        """Whether the image was marked good in this boot."""
        return (self._runtime / "good").exists()

    def note_good(self, number: int) -> None:
        """For this boot only: on a file system in memory. Raises OSError."""
        self._runtime.mkdir(mode=0o755, parents=True, exist_ok=True)
        (self._runtime / "good").write_text(f"{number}\n")

    def on_trial(self) -> bool:
        """This boot was counted, and has not been marked good."""
        return self.boot() != "" and not self.marked_good()
