"""kill -9 of the real process, again and again, beside a real sandbox that goes on."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.ports import free_port

KILLS = int(os.environ.get("SOAK_KILLS", "3"))  # `make soak` asks for more
SEED = 7
ROOT = Path(__file__).parents[2]
KEYS = {"APCA-API-KEY-ID": "sandbox", "APCA-API-SECRET-KEY": "sandbox"}


@contextmanager
def started(folder: Path, *words: str, env: dict[str, str]):
    """A command of ours as a process of its own; killed at the end whatever happens."""
    with (folder / f"{words[0]}.log").open("ab") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("argo-alpine"), *words],
            cwd=folder, env=env, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def waited(until: float, question):
    """Ask until there is an answer; None when time is over."""
    pause = requests.Session()
    while time.monotonic() < until:
        try:
            if answer := question(pause):
                return answer
        except requests.RequestException:
            pass
        select_nothing(0.05)
    return None


def select_nothing(seconds: float) -> None:
    """Wait without looking at anything."""
    import select

    select.select([], [], [], seconds)


def test_kills_leave_no_order_twice_and_none_lost(tmp_path):
    ports = {"port": free_port(), "control": free_port(), "api": free_port()}
    env = {k: v for k, v in os.environ.items() if not k.startswith("ARGO_")} | {
        "PYTHONPATH": str(ROOT),
        "ARGO_SANDBOX__PORT": str(ports["port"]),
        "ARGO_SANDBOX__CONTROL_PORT": str(ports["control"]),
        "ARGO_ARGO__PORT": str(ports["api"]),
        "ARGO_ARGO__CYCLE_SECONDS": "1",
        "ARGO_ARGO__PATIENCE_SECONDS": "2",
    }
    sandbox = (
        "sandbox", "--port", str(ports["port"]), "--control-port", str(ports["control"]),
        "--dwell", "3",
    )  # fmt: skip
    random = np.random.default_rng(SEED)
    health = f"http://127.0.0.1:{ports['api']}/health"
    control = f"http://127.0.0.1:{ports['control']}"
    with started(tmp_path, *sandbox, env=env):
        assert waited(time.monotonic() + 30, lambda s: s.get(f"{control}/time", timeout=2).ok)
        base = f"http://127.0.0.1:{ports['port']}/alpaca/v2"
        params = {"status": "all", "nested": "true", "limit": 500}

        def traded() -> list[dict[str, object]]:
            reply = requests.get(f"{base}/orders", params=params, headers=KEYS, timeout=5)
            found: list[dict[str, object]] = reply.json()
            return found

        kills = 0
        while kills < KILLS or (not traded() and kills < 40):  # a slow machine needs more of them
            kills += 1
            with started(tmp_path, "argo", "--sandbox", env=env) as process:
                waited(time.monotonic() + 20, lambda s: s.get(health, timeout=2).json()["cycles"])
                select_nothing(float(random.uniform(0.0, 3.0)))
                process.send_signal(signal.SIGKILL)
                process.wait(10)
        requests.post(f"{control}/pause", timeout=5)
        with started(tmp_path, "argo", "--sandbox", env=env) as process:
            fine = waited(
                time.monotonic() + 30,
                lambda s: (h := s.get(health, timeout=2).json())["reconciled"] and h["cycles"] > 2,
            )
            assert fine, (tmp_path / "argo.log").read_text()[-2000:]
            positions = requests.get(health.replace("/health", "/api/positions"), timeout=5).json()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        orders = traded()
        held = requests.get(f"{base}/positions", headers=KEYS, timeout=5).json()
    compare(tmp_path / "data/recorded/sandbox.sqlite", orders)
    ours = {p["symbol"]: p["quantity"] for p in positions["positions"]}
    assert ours == {p["symbol"]: float(p["qty"]) for p in held}


def compare(book: Path, orders: list[dict[str, object]]) -> None:
    """Every intent that was sent is one order, and every order was an intent."""
    with closing(sqlite3.connect(book)) as file:
        intents = file.execute("select id, symbol, leg, state, body from intents").fetchall()
    theirs = [order["client_order_id"] for order in orders]
    assert len(theirs) == len(set(theirs))
    assert set(theirs) <= {row[0] for row in intents}
    meant = [(json.loads(row[4])["signal"]["id"], row[2]) for row in intents]
    assert len(meant) == len(set(meant))
    unsent = {row[0] for row in intents if row[3] in ("canceled", "unsent", "rejected")}
    assert {row[0] for row in intents} - unsent <= set(theirs)
    assert not [row for row in intents if row[3] in ("new", "sending", "unknown")]
    assert theirs, "nothing was traded: the test has shown nothing"


def test_the_comparison_sees_an_order_that_nobody_decided(tmp_path):
    """The positive control."""
    book = tmp_path / "book.sqlite"
    with closing(sqlite3.connect(book)) as file:
        file.execute("create table intents (id, symbol, leg, state, body)")
    with pytest.raises(AssertionError):
        compare(book, [{"client_order_id": "aa1-nobody"}])
