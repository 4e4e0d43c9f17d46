"""The factory reset: its locks, and the one connection it may need."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..adapters.clock import SystemClock
from ..adapters.http import HttpCourier
from ..adapters.key_files import keys_folder
from ..adapters.log_file import lock
from ..adapters.log_outbox import Outbox
from ..config import Config
from ..core.errors import LogBusy, StationError
from ..core.phrases import Phrase
from ..services.last_word import LastWord
from ..services.reset import FactoryReset
from .checking import meterless_stream
from .keys import keyring_of
from .reaching import http_settings
from .running import make_folders


@contextmanager
def factory_reset(config: Config) -> Iterator[FactoryReset]:
    """The reset, under the locks of both services and of the log. Raises LogBusy while any of them is held."""
    make_folders(config)
    clock, cloud = SystemClock(), config.cloud
    identity = keyring_of(config).current
    last_word = LastWord(Outbox(config.log_path), HttpCourier(http_settings(cloud)), identity, clock)
    with ExitStack() as stack:
        for name in ("reader.lock", "sync.lock", "log.lock"):
            try:
                stack.callback(os.close, lock(config.state_dir / name, exclusive=True))
            except BlockingIOError:
                raise LogBusy(
                    Phrase("a service holds {name}", name=name),
                    hint=Phrase("Stop reader and sync first; nothing was removed."),
                ) from None
            except OSError as fault:
                raise StationError(
                    Phrase(
                        "{state_dir} cannot be locked: {strerror}",
                        state_dir=config.state_dir / name,
                        strerror=fault.strerror,
                    )
                ) from fault
        yield FactoryReset(
            log=config.log_path,
            identity=identity,
            clock=clock,
            new_stream=lambda: meterless_stream(clock),
            deliver=last_word.deliver,
            mono_s=time.monotonic,
        )


def key_paths(config: Config) -> list[Path]:
    """The files that hold the station's keys: the first one, and those that followed it."""
    document = tomllib.loads(config.path.read_text(encoding="utf-8"))
    first = config.path.resolve().parent / str(document["cloud"]["key_file"])
    return [first, *sorted(keys_folder(config.state_dir).glob("*.key"))]
