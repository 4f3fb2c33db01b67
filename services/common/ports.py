"""Whether somebody else listens where we want to."""

import socket

from argo_alpine.domain import InvalidSettings


def check_port(host: str, port: int, option: str = "--port") -> None:
    """*Raises* `InvalidSettings` when a port is taken, with the option that chooses another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InvalidSettings(
                f"port {port} on {host} is taken ({error.strerror}): stop what listens there, "
                f"or choose another with {option}"
            ) from error
