"""Sandbox, Argo, Alpine and dashboard on one machine, run as one."""

import json as jsonlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.commands import interrupts
from services.commands.screen import near, tell
from services.commands.supervisor import Part, Supervisor, follow_parent

DATA = Path("data/recorded")
KEPT = DATA / "up.json"  # keys and passwords of this machine, mode 0600
LOGS = Path("data/logs")
REPORT = Path("data/reports/backtest/report.html")
DEMO = "demo@example.com"
COMMAND = Path(sys.executable).with_name("argo-alpine")
BOOKS = ("sandbox.json", "sandbox.sqlite", "sandbox.lock", "alpine.sqlite")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the parts listen."""

    sandbox: int
    control: int
    argo: int
    alpine: int
    dashboard: int

    def env(self) -> dict[str, str]:
        """The same as the parts read it."""
        here = "http://127.0.0.1"
        return {
            "ARGO_SANDBOX__PORT": str(self.sandbox),
            "ARGO_SANDBOX__CONTROL_PORT": str(self.control),
            "ARGO_ARGO__PORT": str(self.argo),
            "ARGO_ALPINE__PORT": str(self.alpine),
            "ARGO_ALPINE__FEED_URL": f"{here}:{self.alpine}",
            "ARGO_DASHBOARD__PORT": str(self.dashboard),
            "ARGO_DASHBOARD__ARGO_URL": f"{here}:{self.argo}",
            "ARGO_DASHBOARD__ALPINE_URL": f"{here}:{self.alpine}",
        }


def run(ports: Ports, dwell: float, fresh: bool, report: bool) -> None:
    """Start every part, look after them, and stop them all when told to."""
    check_ports(ports)
    if fresh:
        forget()
    kept = kept_secrets()
    os.environ.update({**ports.env(), "ARGO_ALPINE__INTAKE_KEY": kept["intake_key"]})
    make_demo_user(kept["password"])
    supervisor = Supervisor(parts_of(ports, dwell), LOGS, tell)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores Ctrl+C
        signal.signal(number, lambda *_: interrupt())
    try:
        interrupts.check()
        for part in supervisor.parts:
            supervisor.start(part)
        print(screen(ports, kept["password"], report), flush=True)
        look_after(supervisor, start_report() if report else None)
    except KeyboardInterrupt:
        tell("Stopping.")
    finally:
        supervisor.stop()


def interrupt() -> None:
    """A request to end is treated like Ctrl+C."""
    raise KeyboardInterrupt


def check_ports(ports: Ports) -> None:
    """*Raises* `InvalidSettings` for the first port that is taken, with its option."""
    from services.common.ports import check_port

    names = ("sandbox", "control", "argo", "alpine", "dashboard")
    for name in names:
        check_port("127.0.0.1", getattr(ports, name), f"--{name}-port")


def forget() -> None:
    """Remove what `up` itself has written: the books of sandbox, engine and Alpine."""
    for name in BOOKS:
        for path in DATA.glob(f"{name}*"):
            path.unlink()


def kept_secrets() -> Mapping[str, str]:
    """The key between Argo and Alpine and the demo's password, made at the first start."""
    import base64
    from secrets import token_bytes, token_urlsafe

    DATA.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not KEPT.is_file():
        key = "whsec_" + base64.b64encode(token_bytes(32)).decode()
        made = {"intake_key": key, "email": DEMO, "password": token_urlsafe(12)}
        file = os.open(KEPT, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as out:
            jsonlib.dump(made, out)
    found: dict[str, Any] = jsonlib.loads(KEPT.read_text())
    return found


def make_demo_user(password: str) -> None:
    """A subscriber to sign in with, on a plan that sees everything at once."""
    from services.alpine.app import open_database
    from services.alpine.doors import Doors, lifetime
    from services.common.clock import SystemClock
    from services.common.settings import load

    settings = load()
    database = open_database(settings)
    try:
        life = lifetime(settings.alpine.session_hours, settings.alpine.session_days)
        Doors(database, SystemClock(), life).keep(DEMO, password, "pro")
    finally:
        database.close()


def parts_of(ports: Ports, dwell: float) -> list[Part]:
    """The programs, in the order in which they are started."""
    here = "http://127.0.0.1"
    sandbox: list[str | Path] = [COMMAND, "sandbox", "--port", str(ports.sandbox)]
    sandbox += ["--control-port", str(ports.control), "--dwell", str(dwell)]
    return [
        Part("sandbox", sandbox, f"{here}:{ports.control}/time"),
        Part("alpine", [COMMAND, "alpine"], f"{here}:{ports.alpine}/health"),
        Part("argo", [COMMAND, "argo", "--sandbox"], f"{here}:{ports.argo}/health"),
        Part("dashboard", [COMMAND, "dashboard"], f"{here}:{ports.dashboard}/_stcore/health"),
    ]


def screen(ports: Ports, password: str, is_making: bool) -> str:
    """What a person needs to know, on one short screen."""
    here = "http://127.0.0.1"
    later = "is being made: a line below says when" if is_making else "argo-alpine report backtest"
    report = near(REPORT.absolute()) if REPORT.is_file() and not is_making else later
    return f"""
SANDBOX: recorded prices and a simulated broker. Nothing here is a real trade.

  Dashboard   {here}:{ports.dashboard}
  Sign in     {DEMO}   {password}
  Alpine      {here}:{ports.alpine}   what subscribers get
  Argo        {here}:{ports.argo}   what the engine does
  Report      {report}
  Logs        {near(LOGS.absolute())}

Ctrl+C stops everything.
"""


def start_report() -> subprocess.Popen[bytes]:
    """The backtest report, made beside everything else and after it."""
    with (LOGS / "report.out").open("ab") as out:
        return subprocess.Popen(
            ["nice", "-n", "10", str(COMMAND), "report", "backtest"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=follow_parent,
        )


def look_after(supervisor: Supervisor, making: "subprocess.Popen[bytes] | None") -> None:
    """Watch until told to stop, and say when the report is there."""
    try:
        while True:
            supervisor.watch(1.0)
            if making is not None and (code := making.poll()) is not None:
                done = f"The report is at {near(REPORT.absolute())}"
                tell(done if code == 0 else f"No report: see {near(LOGS.absolute())}/report.out")
                making = None
    finally:
        if making is not None and making.poll() is None:
            os.killpg(making.pid, signal.SIGTERM)
            making.wait(10)
