"""One helper for all: whoever asks, and however busy it is, the answers are those of one thread."""

import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic, sleep

import numpy as np
import pytest

from argo_alpine.backtest import backtest
from argo_alpine.engine import Policy
from argo_alpine.handover import ask_helper, processors
from argo_alpine.opinions import AHEAD
from tests.core.test_opinions import minutes

BARS = [minutes(AHEAD + 1_000 * i) for i in range(1, 5)]


def outcome(bars) -> bytes:
    run = backtest(bars, Policy())
    return run.equity.tobytes() + run.run.whys.tobytes() + run.told.voted.tobytes()


@pytest.fixture(scope="module")
def alone() -> list[bytes]:
    return [outcome(bars) for bars in BARS]


def test_many_who_ask_at_once_are_all_answered(alone):
    with ThreadPoolExecutor(6) as pool:
        found = [*pool.map(outcome, BARS * 12)]
    assert found == alone * 12


def test_nobody_waits_for_a_helper_that_is_busy(alone):
    """It does something else for as long as the run takes; the run reads for itself."""
    done = threading.Event()
    busy = ask_helper(done.wait, 60)
    try:
        assert outcome(BARS[0]) == alone[0]
        assert not busy.has_ended()
    finally:
        done.set()
    assert busy.result()
    assert outcome(BARS[1]) == alone[1]  # those it came too late for hold nobody up


def test_a_helper_that_comes_late_reads_nothing_twice(alone):
    """It wakes somewhere in the middle, a little later each time."""
    for i in range(40):
        done = threading.Event()
        ask_helper(done.wait, 60)
        timer = threading.Timer(0.0002 * i, done.set)
        timer.start()
        assert outcome(BARS[i % 4]) == alone[i % 4]
        timer.join()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinities")
def test_who_asks_stays_on_its_processors(alone):
    before = processors()
    assert outcome(BARS[0]) == alone[0]
    assert processors() == before


def test_one_processor_is_enough(alone, monkeypatch):
    monkeypatch.setattr("argo_alpine.opinions.processors", lambda: {0})
    monkeypatch.setattr("argo_alpine.opinions.ask_helper", None)  # nobody asks
    assert outcome(BARS[2]) == alone[2]
    assert np.frombuffer(alone[2][: 8 * len(BARS[2])]).min() > 0


class Large:
    """Something that should not be kept."""


def refuse(_: Large) -> None:
    raise MemoryError("no room")


@pytest.mark.parametrize("job", [id, refuse])
def test_an_errand_that_ended_holds_nothing(job):
    given = Large()
    gone = weakref.ref(given)
    errand = ask_helper(job, given)
    with suppress(MemoryError):
        errand.result()
    gc.collect(), gc.disable()
    try:
        del given, errand
        until = monotonic() + 10
        while gone() and monotonic() < until:  # the helper may not yet have turned to the next
            sleep(0.01)
        assert gone() is None  # and nobody had to look for cycles
    finally:
        gc.enable()
