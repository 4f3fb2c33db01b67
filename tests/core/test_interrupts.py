"""A Ctrl+C in the middle of a backtest is a KeyboardInterrupt, and nothing else."""

import subprocess
import sys

INTERRUPTED = """
import signal
from argo_alpine.backtest import prepared
from argo_alpine.engine import Policy
from argo_alpine.costs import FillPolicy
from tests.core.test_opinions import minutes

def interrupted(*_):
    raise KeyboardInterrupt

ready, heard = prepared(minutes(600_000)), 0
whole = ready.run(Policy(), FillPolicy()).equity.copy()
signal.signal(signal.SIGALRM, interrupted)
for i in range(8):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02 + 0.0013 * i)
        while True:
            ready.run(Policy(), FillPolicy())
    except KeyboardInterrupt:
        heard += 1
again = ready.run(Policy(), FillPolicy()).equity
print(heard, (again == whole).all())
"""


def test_an_interrupted_run_raises_and_the_next_is_whole():
    """In a process of its own: compiled code that is left half-way would take it down."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=180
    )
    assert (done.returncode, done.stdout.strip()) == (0, "8 True"), done.stderr[-2_000:]
