"""A port nobody listens on."""

import socket


def free_port() -> int:
    """One on this machine; whoever comes first has it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
