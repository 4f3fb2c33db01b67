"""When a source has failed enough to be left alone for a while, and when to try it again."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from argo_alpine.domain import InvalidData

IN_A_ROW = 5  # failures that open it
WINDOW = 20  # outcomes remembered
SHARE = 0.5  # of them failed: opens too
FIRST, LONGEST = 60.0, 900.0  # seconds it stays open


class Breaker:
    """Closed, open, or open with one probe on its way; told the monotonic time."""

    def __init__(self, jitter: Callable[[], float] = lambda: 0.5) -> None:
        self.jitter = jitter  # 0..1; spreads the retries of many
        self.recent: deque[bool] = deque(maxlen=WINDOW)  # True: failed
        self.failures = 0  # in a row
        self.openings = 0  # in a row, without a success between
        self.until: float | None = None  # None: closed
        self.probing = False

    @property
    def is_open(self) -> bool:
        """Whether the source is left alone; also while it is probed."""
        return self.until is not None

    def allows(self, now: float) -> bool:
        """Whether to ask now. Who asks must report back; while open, only one may ask."""
        if self.until is None:
            return True
        if now < self.until or self.probing:
            return False
        self.probing = True
        return True

    def succeeded(self, now: float) -> None:
        """The source answered."""
        if self.is_open:
            self.recent.clear()
        self.recent.append(False)
        self.failures = self.openings = 0
        self.until, self.probing = None, False

    def failed(self, now: float) -> None:
        """It did not, or not in words we can read."""
        self.recent.append(True)
        self.failures += 1
        if self.probing or self.failures >= IN_A_ROW or self.is_flapping():
            self.open(now)

    def is_flapping(self) -> bool:
        """Whether too large a share of the last outcomes were failures."""
        return len(self.recent) == WINDOW and sum(self.recent) >= SHARE * WINDOW

    def open(self, now: float) -> None:
        """Leave the source alone: each time twice as long, give or take a quarter."""
        pause = min(FIRST * 2.0**self.openings, LONGEST) * (0.75 + 0.5 * self.jitter())
        self.until, self.probing = now + min(pause, LONGEST), False
        self.openings = min(self.openings + 1, 10)
        self.recent.clear()

    def state(self, now: float) -> dict[str, Any]:
        """What a restart must not forget, as JSON has it."""
        return {
            "failures": self.failures,
            "openings": self.openings,
            "recent": "".join("x" if failed else "." for failed in self.recent),
            "left": None if self.until is None else max(self.until - now, 0.0),
        }

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Go on from there. *Raises* `InvalidData` when nobody can have saved this."""
        try:
            failures, openings = int(state["failures"]), int(state["openings"])
            recent, left = str(state["recent"]), state["left"]
            until = None if left is None else now + min(max(float(left), 0.0), LONGEST)
            if min(failures, openings) < 0 or openings > 10 or not {*recent} <= {"x", "."}:
                raise ValueError("out of range")
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidData(f"not the state of a breaker, was {state!r}: delete it") from error
        self.failures, self.openings, self.until = failures, openings, until
        self.recent, self.probing = deque((c == "x" for c in recent), maxlen=WINDOW), False
