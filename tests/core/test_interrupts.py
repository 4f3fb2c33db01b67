"""A Ctrl+C in the middle of a backtest is a KeyboardInterrupt, and nothing else.

Each of these has a process of its own: what is left half-way there would stop or end this one.
What a run calls is loaded before the storm: numba itself is left half-way by an interruption while
it loads compiled code for the first time, and raises RuntimeError ever after.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Thread

from argo_alpine.backtest import prepared
from argo_alpine.book import bars_that_fit
from argo_alpine.costs import FillPolicy
from argo_alpine.engine import Policy
from argo_alpine.handover import ask_helper
from tests.core.test_opinions import minutes

STORM = 40_000  # interruptions; a pool of threads mostly survives a few thousand
HUNG_S = 5  # without any of them


class Interrupted(Exception):
    """What a Ctrl+C would raise, but not to be taken for one."""


def interrupt(*_) -> None:
    raise Interrupted


def tell_if_hung(done: list[int]) -> None:
    """End the process when nothing has happened for a while."""
    before = -1
    while done[0] > before:
        before = done[0]
        time.sleep(HUNG_S)
    print(f"hung after {before} interruptions", flush=True)
    os._exit(0)


def storm(ask: Callable[[], object], most_s: float, n: int) -> None:
    """Ask again and again, interrupted n times, each after another while."""
    signal.signal(signal.SIGALRM, interrupt)
    random.seed(7)
    done = [0]
    Thread(target=tell_if_hung, args=(done,), daemon=True).start()
    while done[0] < n:
        with suppress(Interrupted):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(most_s / 15, most_s))
                while True:
                    ask()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        done[0] += 1
    print(f"whole after {n} interruptions", flush=True)


def storm_on_the_helper() -> None:
    storm(lambda: ask_helper(int).result(), 3e-4, STORM)


def storm_on_a_pool() -> None:
    pool = ThreadPoolExecutor(1)

    def ask() -> None:
        with suppress(RuntimeError):  # it may also find a lock released that it holds
            pool.submit(int).result()

    storm(ask, 3e-4, 50 * STORM)
    os._exit(0)


def storm_on_backtests() -> None:
    ready = prepared(minutes(100_000))
    first = ready.run(Policy(), FillPolicy())
    whole = first.equity.copy()
    bars_that_fit(0, first.run)  # a run whose reader is slow asks for that
    storm(lambda: ready.run(Policy(), FillPolicy()), 6e-3, 500)
    again = ready.run(Policy(), FillPolicy()).equity
    print((again == whole).all())


def printed_by(what: Callable[[], None]) -> str:
    """What one of them prints in a process of its own, which ends."""
    code = f"from tests.core.test_interrupts import {what.__name__} as run; run()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout.strip()


def test_an_interrupted_run_raises_and_the_next_is_whole():
    assert printed_by(storm_on_backtests) == "whole after 500 interruptions\nTrue"


def test_interruptions_leave_the_helper_free():
    assert printed_by(storm_on_the_helper) == f"whole after {STORM} interruptions"


def test_interruptions_that_leave_a_lock_taken_are_noticed():
    """The pool of the standard library, which was the helper once."""
    assert printed_by(storm_on_a_pool).startswith("hung after ")
