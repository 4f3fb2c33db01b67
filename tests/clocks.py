"""A clock that moves when told to."""

from datetime import UTC, datetime, timedelta

from services.common.clock import SystemClock


class ManualClock(SystemClock):
    """Time moves when told to, and so does the wall."""

    def __init__(self, at: datetime) -> None:
        self.now, self.seconds = at.astimezone(UTC), 0.0

    def market(self) -> datetime:
        """Market time, UTC."""
        return self.now

    def wall(self) -> datetime:
        """Real time, UTC: here the same."""
        return self.now

    def monotonic(self) -> float:
        """Seconds moved so far."""
        return self.seconds

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.now += timedelta(seconds=seconds)
