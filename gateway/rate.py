"""Token buckets: how much of something a client may do now."""

from __future__ import annotations


class TokenBucket:
    """Holds up to `burst` tokens, of which `per_second` come back each second. Starts full.

    Reads no clock: times are seconds of one clock of the caller's, and never go back.
    """

    __slots__ = ("_at_s", "_burst", "_per_second", "_tokens")

    def __init__(self, per_second: float, burst: float, now_s: float) -> None:
        assert per_second > 0
        assert burst > 0
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, now_s: float, tokens: float = 1.0) -> bool:
        """Take `tokens` if they are there; else take nothing."""
        self._refill(now_s)
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True

    def spend(self, now_s: float, tokens: float) -> float:
        """Take `tokens` in any case, and tell after how many seconds the debt is paid."""
        self._refill(now_s)
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._per_second)

    def _refill(self, now_s: float) -> None:
        gained = max(0.0, now_s - self._at_s) * self._per_second
        self._tokens = min(self._burst, self._tokens + gained)
        self._at_s = now_s
