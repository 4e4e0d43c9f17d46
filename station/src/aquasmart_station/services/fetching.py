"""Updates of the image: asks the cloud, fetches piece by piece, installs, and tells what became of it.

One `cycle` does one thing: takes an answer, asks, or does what core.maintenance says is due, none longer than seconds
but the installation, which shows life by itself. Killed anywhere it goes on from the disk: how far it has come is
written before the next step is begun, each step may be repeated, and a result is told before anything follows from it
(adapters.update_results: once, whatever is repeated). It writes to no log, holds no lock of reader or sync, and what
fails here is waited out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..adapters.update_folder import UpdateFolder
from ..core import maintenance as rules
from ..core.errors import NotNow, StationError
from ..core.maintenance import Facts, Image, Offer, Progress
from ..core.ports import Clock, Watchdog
from .telling import INFO, WARNING
from .update_line import Nothing, OfferSaid, Piece, Said, UpdateLine

BUSY_ASK_S = 60.0
"""How often the cloud is asked while something is under way, so that a stopped roll-out is noticed."""
MARGIN_BYTES = 16 << 20
"""What is left free beside the bundle and the log."""
LOOK_S, IDLE_S = 1.0, 5.0
REBOOT_AGAIN_S = 10.0


class Installer(Protocol):
    """What installs bundles. Both raise StationError; the running image is as it was then."""

    def info(self, path: Path) -> Image:
        """What the bundle's signed manifest says."""
        ...

    def install(self, path: Path, on_progress: Callable[[int, str], None]) -> None:
        """Install it; `on_progress` is told per cent and words, about once a second, and may raise to give up waiting.
        Raises NotNow where it was not begun and may be later."""
        ...


class Stopping(Exception):
    """The agent was asked to stop in the middle of an installation; it is begun anew at the next start."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the agent sees of the station, and what it may do to it."""

    station_id: str
    boot_id: str
    unfit: Callable[[], str]
    """Why nothing may be begun just now, by what the reader shows; empty where it may."""
    log_needs_bytes: Callable[[], int]
    """What of the partition's free room the log may still need."""
    tell: Callable[[Progress, int], bool]
    """Queue a state for the cloud, once. Raises OpsError."""
    reboot: Callable[[], None]
    """Raises StationError."""
    say: Callable[[int, str, Mapping[str, object]], None]
    """A line in the journal: priority as syslog's, words, fields."""


class UpdateAgent:
    """Constructed by wiring; `cycle` is called again after the seconds it returns."""

    def __init__(
        self,
        *,
        folder: UpdateFolder,
        line: UpdateLine,
        installer: Installer,
        around: Surroundings,
        clock: Clock,
        watchdog: Watchdog,
        draw: Callable[[], float],
        ask_s: float,
        cloud_ms: Callable[[], int | None],
        stopping: Callable[[], bool],
    ) -> None:
        """`cloud_ms`: the cloud's time by its last verified answer."""
        self._folder, self._line, self._installer, self._around = folder, line, installer, around
        self._clock, self._watchdog, self._draw, self._stopping = clock, watchdog, draw, stopping
        self._ask_s, self._cloud_ms = ask_s, cloud_ms
        self._next_ask_s = 0.0
        self._answer_s: float | None = None
        self._offer: Offer | None = None
        self._progress: Progress | None = None
        self._loaded = False
        self._checked = False
        self._text = ""

    def cycle(self) -> float:
        """Do what is due; seconds until the next. Raises Stopping."""
        self._watchdog.pet()
        unfit = self._around.unfit()  # looked at every time: what counts is what was seen over seconds
        try:
            wait_s = self._step(unfit)
        except StationError as fault:
            self._text = f"{fault} {fault.hint or ''}".strip()
            wait_s = LOOK_S
        self._watchdog.status(self._text)
        return wait_s

    def _step(self, unfit: str) -> float:
        if not self._loaded:
            self._progress, self._loaded = self._folder.read_progress(), True
        self._tell()
        if self._line.under_way:
            said = self._line.take(LOOK_S)
            if said is not None:
                self._take(said)
            return 0.0
        if self._mono_s() >= max(self._next_ask_s, self._line.pace.not_before_s):
            self._line.ask_offer()
            return 0.0
        if self._answer_s is None and not self._installed:
            return LOOK_S
        return self._act(self._facts(unfit))

    # The cloud

    @property
    def _installed(self) -> bool:
        return self._progress is not None and self._progress.state == rules.INSTALLED

    def _take(self, said: Said) -> None:
        match said:
            case OfferSaid():
                self._take_offer(said.update)
            case Piece():
                self._take_piece(said)
            case Nothing():
                self._text = self._line.text or self._text
                if said.not_ours:
                    self._next_ask_s = 0.0  # taken back, or stopped: the cloud says which

    def _take_offer(self, update: object) -> None:
        now_s, every_s = self._mono_s(), self._ask_s
        try:
            self._offer, self._answer_s = rules.read_offer(update), now_s
        except ValueError as fault:
            # Nothing is done upon an answer that says who knows what.
            self._answer_s, self._text = None, f"the cloud's offer cannot be understood: {fault}"
        if self._offer is not None or (self._progress is not None and self._progress.state not in rules.ENDED):
            every_s = min(every_s, BUSY_ASK_S)
        self._next_ask_s = now_s + every_s * (0.9 + 0.2 * self._draw())

    def _take_piece(self, piece: Piece) -> None:
        have, progress = self._folder.have_bytes(), self._need()
        if piece.size_bytes != progress.size_bytes:
            self._spoilt(progress)
        elif piece.begin != have or have + len(piece.body) > progress.size_bytes:
            self._line.failed()
        else:
            self._folder.append(have, piece.body)

    # What is due

    def _act(self, facts: Facts) -> float:
        action = rules.next_action(self._progress, self._offer, facts)
        match action:
            case rules.Rest():
                return self._rest(action)
            case rules.Begin():
                self._begin(action.offer)
            case rules.Drop():
                self._drop()
            case rules.Fetch():
                return self._fetch(action.offset)
            case rules.Check():
                self._check()
            case rules.Install():
                return self._install()
            case rules.Reboot():
                return self._reboot()
            case rules.Conclude():
                self._conclude(action.state, action.detail)
        return 0.0

    def _rest(self, rest: rules.Rest) -> float:
        self._text = rest.why
        progress = self._progress
        if rest.waits and progress is not None and progress.state == rules.DOWNLOADED:
            self._keep(progress.moved(rules.WAITING, rest.why))
        if rest.stale:
            self._next_ask_s = 0.0
        self._make_room()
        under_way = progress is not None and progress.state not in rules.ENDED
        return LOOK_S if under_way else IDLE_S

    def _begin(self, offer: Offer) -> None:
        """The same bundle may lie here from another roll-out: then it need not be fetched again."""
        if self._progress is None or self._progress.sha256 != offer.sha256:
            self._folder.clear()
        self._checked = False
        self._keep(Progress.of(offer))

    def _drop(self) -> None:
        """Nothing is told: the cloud itself has taken it back, and may offer it again."""
        self._folder.clear()
        self._folder.forget_progress()
        self._progress, self._checked = None, False

    def _fetch(self, offset: int) -> float:
        progress = self._need()
        if progress.state == rules.OFFERED:
            self._keep(progress.moved(rules.DOWNLOADING))
        wait_s = self._line.wait_s()
        if wait_s > 0:
            self._text = self._line.text or f"downloads version {progress.version}: waits for the link"
            return min(wait_s, LOOK_S)
        self._text = f"downloads version {progress.version}: {offset:,} of {progress.size_bytes:,} bytes"
        self._line.ask_piece(progress.sha256, offset, progress.size_bytes)
        return 0.0

    def _check(self) -> None:
        progress = self._need()
        self._text = f"checks version {progress.version}"
        found = self._folder.check_on(progress.sha256, progress.size_bytes)
        if found is None:
            return
        if not found:
            self._spoilt(progress)
            return
        self._checked = True
        if progress.state in (rules.OFFERED, rules.DOWNLOADING):
            self._keep(progress.moved(rules.DOWNLOADED))

    def _spoilt(self, progress: Progress) -> None:
        """What came, verified piece by piece, is not what was named: it was changed where it lies."""
        self._text = "what was downloaded is not the bundle that the cloud named; it is fetched again"
        self._folder.clear()
        self._progress = replace(progress, spoilt=progress.spoilt + 1)
        self._folder.write_progress(self._progress)
        self._line.failed()

    def _install(self) -> float:
        if self._mono_s() < self._line.pace.not_before_s:
            return LOOK_S
        self._try_to_install(self._need(), self._offer)
        return 0.0

    def _try_to_install(self, progress: Progress, offer: Offer | None) -> None:
        assert offer is not None
        try:
            said = self._installer.info(self._folder.bundle)
        except StationError as fault:
            self._conclude(rules.REFUSED, str(fault))
            return
        if said != offer.image:
            self._conclude(
                rules.REFUSED,
                f"the bundle's manifest says {said.version}, number {said.number}, for {said.compatible}",
            )
            return
        self._keep(progress.moved(rules.INSTALLING, installs=progress.installs + 1, boot_id=self._around.boot_id))
        try:
            self._installer.install(self._folder.bundle, self._installing)
        except NotNow as fault:
            # Not begun: it does not count as a try.
            self._progress = replace(self._need(), installs=progress.installs)
            self._folder.write_progress(self._progress)
            self._text = f"not installed now: {fault}"
            self._line.failed()
            return
        except StationError as fault:
            self._conclude(rules.FAILED, str(fault))
            return
        self._line.pace.succeeded()
        self._keep(self._need().moved(rules.INSTALLED, boot_id=self._around.boot_id))

    def _installing(self, percent: int, words: str) -> None:
        self._watchdog.pet()
        self._watchdog.status(f"installs version {self._need().version}: {percent} % {words}".rstrip())
        self._around.unfit()
        if self._stopping():
            raise Stopping

    def _reboot(self) -> float:
        self._text = f"restarts into version {self._need().version}"
        try:
            self._around.reboot()
        except StationError as fault:
            self._text = f"installed; {fault}"
        return REBOOT_AGAIN_S

    def _conclude(self, state: str, detail: str) -> None:
        self._keep(self._need().moved(state, detail))
        self._folder.clear()
        self._checked = False
        self._text = f"version {self._need().version}: {state}; {detail}".rstrip("; ")

    # What is kept

    def _keep(self, progress: Progress) -> None:
        """On the disk first, then told: a process that is killed between them tells it when it starts again."""
        former = None if self._progress is None else self._progress.state
        self._folder.write_progress(progress)
        self._progress = progress
        if progress.state not in (former, rules.OFFERED):
            words = f"update to version {progress.version}: {progress.state}"
            priority = WARNING if progress.state in rules.ENDED - {rules.GOOD} else INFO
            fields = {"rollout": progress.rollout_id, "state": progress.state, "reason": progress.detail}
            self._around.say(priority, f"{words}: {progress.detail}" if progress.detail else words, fields)
        self._tell()

    def _tell(self) -> None:
        progress = self._progress
        if progress is None or progress.state in (rules.OFFERED, progress.told):
            return
        self._around.tell(progress, self._at_ms() or self._clock.wall_ns() // 1_000_000)
        self._progress = replace(progress, told=progress.state)
        self._folder.write_progress(self._progress)

    def _make_room(self) -> None:
        """The log comes first: where it has come to need the room that a waiting bundle takes, the bundle goes."""
        progress = self._progress
        waiting = progress is not None and progress.state in (rules.DOWNLOADING, rules.DOWNLOADED, rules.WAITING)
        if waiting and self._folder.have_bytes() and self._missing_bytes(0) > 0:
            self._folder.clear()
            self._checked = False
            self._text = "the log needs the room of the bundle: it is fetched again when there is room"

    def _facts(self, unfit: str) -> Facts:
        offer, have = self._offer, self._folder.have_bytes()
        rest = 0 if offer is None else max(0, offer.size_bytes - have)
        return Facts(
            at_ms=self._at_ms(),
            place=0 if offer is None else rules.place_in_window(self._around.station_id, offer.rollout_id),
            unfit=unfit,
            image=self._folder.image(),
            highest_good=self._folder.highest_good(),
            boot_id=self._around.boot_id,
            have_bytes=have,
            checked=self._checked,
            short_bytes=max(0, self._missing_bytes(rest)) if rest else 0,
            answer_age_s=float("inf") if self._answer_s is None else self._mono_s() - self._answer_s,
        )

    def _missing_bytes(self, rest_bytes: int) -> int:
        """What lacks for so much more of the bundle, what the log may need and a margin; below 0: so much is left."""
        return rest_bytes + MARGIN_BYTES + self._around.log_needs_bytes() - self._folder.free_bytes()

    def _at_ms(self) -> int | None:
        return rules.believed_ms(self._cloud_ms(), self._clock.wall_ns() // 1_000_000, self._clock.quality())

    def _need(self) -> Progress:
        assert self._progress is not None
        return self._progress

    def _mono_s(self) -> float:
        return self._clock.mono_ns() / 1e9
