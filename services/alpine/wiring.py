"""What the parts of Alpine are, together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.alpine.doors import Doors
from services.alpine.hub import Hub
from services.alpine.jobs import Worker
from services.alpine.performance import Curves
from services.alpine.plans import Plan
from services.alpine.socket import Talk
from services.alpine.store import Database
from services.common.clock import Clock
from services.common.sections import Settings


@dataclass(frozen=True)
class Alpine:
    """Everything that runs, wired."""

    settings: Settings
    clock: Clock
    database: Database
    plans: Mapping[str, Plan]
    doors: Doors
    hub: Hub
    talk: Talk
    worker: Worker
    curves: Curves
    keys: tuple[str, ...]  # of the intake
    reports: Path
