"""A port nobody listens on, nor will by chance."""

import os
import random
import socket

# below those that the system hands out to whoever connects to somebody (from 32768 on Linux): one
# of these may be taken between the look and the use
FIRST, EACH = 12_000, 1_000  # each process of a test run has its own thousand
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw")) % 20
UNTRIED = random.Random().sample(range(FIRST + EACH * WORKER, FIRST + EACH * (WORKER + 1)), EACH)


def free_port() -> int:
    """One on this machine that this process has not asked for before."""
    while UNTRIED:
        port = UNTRIED.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody listens there
            return port
    raise OSError(f"no free port between {FIRST} and {FIRST + 20 * EACH}")
