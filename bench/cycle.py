"""How long is one live cycle, and how long until a started engine is reconciled?

    make bench

A cycle: four symbols on real prices, journal on disk at FULL, and a broker that answers at once,
so that no vendor's time is counted. The start is the real process beside a real sandbox.
"""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import requests
import structlog
from rich.progress import track

from tests.argo_stage import staged
from tests.ports import free_port

DAYS, STARTS = 40, 5
COMMAND = Path(sys.executable).with_name("argo-alpine")


def cycles(folder: Path) -> list[float]:
    """Milliseconds of every cycle of some weeks of trading."""
    times = []
    with staged(folder / "book.sqlite") as stage:
        stage.engine.cycle()
        for _ in track(range(DAYS), "cycles", transient=True):
            for step in stage.steps():
                step()
                began = time.perf_counter()
                stage.engine.cycle()
                times.append(1000 * (time.perf_counter() - began))
    return times


def start(folder: Path, env: dict[str, str], api: int) -> float:
    """Seconds from the command to a reconciled engine."""
    began = time.perf_counter()
    with (folder / "argo.log").open("ab") as log:
        process = subprocess.Popen(
            [COMMAND, "argo", "--sandbox"], cwd=folder, env=env, stdout=log, stderr=log
        )
    try:
        while time.perf_counter() - began < 60:
            try:
                health = requests.get(f"http://127.0.0.1:{api}/health", timeout=2).json()
                if health["reconciled"]:
                    return time.perf_counter() - began
            except requests.RequestException:
                pass
            time.sleep(0.02)
        raise SystemExit(f"not reconciled within a minute: see {folder / 'argo.log'}")
    finally:
        process.terminate()
        process.wait(20)


def starts(folder: Path) -> list[float]:
    """Seconds of several starts on the same book."""
    port, control, api = free_port(), free_port(), free_port()
    env = os.environ | {
        "ARGO_SANDBOX__PORT": str(port),
        "ARGO_SANDBOX__CONTROL_PORT": str(control),
        "ARGO_ARGO__PORT": str(api),
    }
    words = ["sandbox", "--port", str(port), "--control-port", str(control)]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "sandbox.log").open("wb"))
        sandbox = subprocess.Popen([COMMAND, *words], cwd=folder, env=env, stdout=log, stderr=log)
        stack.callback(sandbox.wait, 20)
        stack.callback(sandbox.terminate)
        while not is_up(control):
            time.sleep(0.05)
        return [start(folder, env, api) for _ in track(range(STARTS), "starts", transient=True)]


def is_up(control: int) -> bool:
    """Whether the sandbox answers."""
    try:
        return requests.get(f"http://127.0.0.1:{control}/time", timeout=2).ok
    except requests.RequestException:
        return False


def main() -> None:
    """Print both."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with TemporaryDirectory() as folder:
        times = cycles(Path(folder))
        p99 = quantiles(times, n=100)[98]
        print(
            f"cycle, 4 symbols, journal at FULL, no vendor: median {median(times):.1f} ms, "
            f"p99 {p99:.1f} ms (n = {len(times)}; aim: median at most 50 ms)"
        )
        seconds = starts(Path(folder))
        print(
            f"start to reconciled: median {median(seconds):.1f} s, slowest {max(seconds):.1f} s "
            f"(n = {len(seconds)}; aim: at most 5 s)"
        )


if __name__ == "__main__":
    main()
