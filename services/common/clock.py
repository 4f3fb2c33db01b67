"""The one seam to time: market time may be simulated, waiting and tokens never are."""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

import requests

from argo_alpine.domain import UnavailableSource


class Clock(Protocol):
    """Two times: the market's, which decides, and the wall's, which waits."""

    def market(self) -> datetime:
        """Market time, UTC. *Raises* `UnavailableSource` when nobody can say."""

    def wall(self) -> datetime:
        """Real time, UTC: for records, tokens and retries."""

    def monotonic(self) -> float:
        """Seconds since some start; never goes back."""


class SystemClock:
    """Production: market time is real time."""

    def market(self) -> datetime:
        """Market time, UTC."""
        return self.wall()

    def wall(self) -> datetime:
        """Real time, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some start."""
        return time.monotonic()


class SandboxClock(SystemClock):
    """Market time as the sandbox's control port tells it."""

    def __init__(self, control_url: str, timeout: float = 2.0) -> None:
        self.url, self.timeout = f"{control_url.rstrip('/')}/time", timeout
        self.local = threading.local()  # a session of `requests` belongs to one thread

    def market(self) -> datetime:
        """Market time, UTC. *Raises* `UnavailableSource`."""
        session = getattr(self.local, "session", None)
        if session is None:
            session = self.local.session = requests.Session()
            session.trust_env = False  # a proxy has nothing to say on the way to this machine
        try:
            reply = session.get(self.url, timeout=self.timeout)
            reply.raise_for_status()
            return datetime.fromisoformat(reply.json()["at"]).astimezone(UTC)
        except (requests.RequestException, KeyError, ValueError) as error:
            raise UnavailableSource(f"the sandbox does not tell the time at {self.url}") from error
