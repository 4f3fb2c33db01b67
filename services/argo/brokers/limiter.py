"""How many calls a broker may still be asked, with a share that only exits may use."""

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum

from argo_alpine.domain import InvalidSettings, RefusedOrder, UnavailableBroker

MINUTE = 60.0


class Share(Enum):
    """What a call is for."""

    EXIT = "exit"  # a cancel or a close: may use everything
    ENTRY = "entry"
    ROUTINE = "routine"  # any question


class Limiter:
    """A bucket whose tokens come back one minute after they were taken.

    A bucket that refills steadily lets up to twice its size pass in one minute; the vendor
    counts a sliding minute and so does this one.
    """

    def __init__(
        self, monotonic: Callable[[], float], per_minute: int = 200, reserve: int = 40
    ) -> None:
        if not 0 <= reserve < per_minute:
            raise InvalidSettings(
                f"the reserve must lie between 0 and {per_minute - 1} calls, was {reserve}"
            )
        self.monotonic, self.per_minute, self.reserve = monotonic, per_minute, reserve
        self.taken: deque[float] = deque()
        self.lock = threading.Lock()

    def free(self) -> int:
        """How many calls are left, the reserve included."""
        with self.lock:
            return self._free(self.monotonic())

    def take(self, share: Share) -> None:
        """Count one call; never waits.

        *Raises* `RefusedOrder` for an entry and `UnavailableBroker` for the rest when none is left.
        """
        with self.lock:
            now = self.monotonic()
            left = self._free(now) - (0 if share is Share.EXIT else self.reserve)
            if left > 0:
                self.taken.append(now)
                return
        said = f"all {self.per_minute} calls of this minute are used, none left for {share.value}"
        raise RefusedOrder(said) if share is Share.ENTRY else UnavailableBroker(said)

    def exhaust(self) -> None:
        """Believe a broker that counts more than we do: nothing but the reserve is left."""
        with self.lock:
            now = self.monotonic()
            surplus = self._free(now) - self.reserve
            self.taken.extend([now] * max(0, surplus))

    def _free(self, now: float) -> int:
        while self.taken and self.taken[0] <= now - MINUTE:
            self.taken.popleft()
        return self.per_minute - len(self.taken)
