"""How long to wait before the next attempt (docs/protocol.md §6). Pure: the random draw is a parameter."""

from __future__ import annotations

from dataclasses import dataclass

CAP_S = 30.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter. Doubles from `base_s`, never above `cap_s`."""

    base_s: float = 0.5
    cap_s: float = CAP_S

    def delay_s(self, attempt: int, draw: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1), for a uniform `draw` in [0, 1).

        d = base · 2^(attempt−1); min(cap, d · U(0.5, 1.5)), and cap · U(0.5, 1.0) once d ≥ cap: a fleet that has
        reached the cap stays spread over half of it. Raises ValueError for attempt < 1.
        """
        if attempt < 1:
            raise ValueError(f"attempts are counted from 1, not {attempt}")
        # 2^(attempt−1) is held down so that a week of attempts does not overflow a float.
        doubled_s = self.base_s * 2.0 ** min(attempt - 1, 60)
        if doubled_s >= self.cap_s:
            return self.cap_s * (0.5 + draw * 0.5)
        return min(self.cap_s, doubled_s * (0.5 + draw))


RETRY_AFTER_SPREAD_S = 5.0


def retry_after_s(told_s: float, draw: float, *, limit_s: float) -> float:
    """A wait the other side asked for: at most `limit_s`, plus 0–5 s so that a told fleet does not return at once."""
    return min(max(told_s, 0.0), limit_s) + draw * RETRY_AFTER_SPREAD_S
