"""The whole product as a person starts it, on free ports and in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.ports import free_port

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("argo-alpine")
NAMES = ("sandbox", "control", "argo", "alpine", "dashboard")


@dataclass(frozen=True)
class Whole:
    """Everything that `up` started."""

    folder: Path
    ports: dict[str, int]
    process: subprocess.Popen[bytes]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def get(self, name: str, path: str, **headers: str) -> Any:
        return requests.get(f"{self.url(name)}{path}", headers=headers, timeout=5).json()

    def said(self) -> str:
        return (self.folder / "up.log").read_text()

    def sign_in(self) -> tuple[str, str, str]:
        """Address, password and a token of the demo subscriber."""
        kept = json.loads((self.folder / "data/recorded/up.json").read_text())
        body = {"email": kept["email"], "password": kept["password"]}
        reply = requests.post(f"{self.url('alpine')}/api/auth/login", json=body, timeout=10)
        return kept["email"], kept["password"], reply.json()["token"]


def waited(seconds: float, question: Callable[[], Any], pause: float = 0.2) -> Any:
    """The first true answer; fails when there is none in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if answer := question():
                return answer
        except (requests.RequestException, KeyError, ValueError):
            pass
        time.sleep(pause)  # another process is waited for: there is no event to wait on
    raise AssertionError(f"no answer within {seconds:.0f} s")


@contextmanager
def together(folder: Path, *words: str) -> Iterator[Whole]:
    """Run `argo-alpine up`, and stop it as Ctrl+C does."""
    ports = {name: free_port() for name in NAMES}
    options = [w for name in NAMES for w in (f"--{name}-port", str(ports[name]))]
    env = {k: v for k, v in os.environ.items() if not k.startswith("ARGO_")}
    env |= {"PYTHONPATH": str(ROOT), "ARGO_ARGO__CYCLE_SECONDS": "1"}
    env |= {"ARGO_ARGO__PATIENCE_SECONDS": "2"}
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [COMMAND, "up", "--no-report", "--dwell", "4", *options, *words],
            cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    whole = Whole(folder, ports, process)
    try:
        waited(120, lambda: "Ctrl+C stops everything" in whole.said() or process.poll())
        assert process.poll() is None, whole.said()
        yield whole
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
