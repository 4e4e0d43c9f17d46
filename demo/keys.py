"""Single key presses from a terminal, without waiting for the return key. Nothing else."""

from __future__ import annotations

import os
import select
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


@contextmanager
def raw_keyboard(stream: IO[str]) -> Iterator[int | None]:
    """The keyboard's file descriptor, unbuffered and unechoed; None where there is no keyboard.

    Ctrl-C stays a signal. The terminal is given back as it was, whatever happens.
    """
    if not stream.isatty():
        yield None
        return
    keyboard = stream.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    try:
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def pressed_keys(keyboard: int | None, within_s: float) -> str:
    """Keys pressed within that time, in lower case; returns at the first, or after the time."""
    if keyboard is None:
        time.sleep(within_s)
        return ""
    readable, _, _ = select.select([keyboard], [], [], within_s)
    return os.read(keyboard, 64).decode(errors="replace").lower() if readable else ""
