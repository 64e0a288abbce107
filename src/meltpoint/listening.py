"""The address that a server listens on: had before anything is said of it; whether others can reach it."""

import errno
import ipaddress
import socket

from meltpoint.errors import UserError


class ListenError(UserError, RuntimeError):
    """Nothing can listen on an address."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; who connects waits until it is served. Port 0 is any that is free.

    Raises:
        ListenError: it is no address of this machine, or the port is taken, not allowed or none.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen()  # until then another program may take the same
    except (OSError, OverflowError) as error:
        bound.close()
        mend = "Choose another port, from 1024 to 65535"
        if isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
            mend = "Give an address of this machine, as 127.0.0.1"
        raise ListenError(f"Nothing can listen on {host}:{port}: {error}. {mend}.") from None
    return bound


def url_of(bound: socket.socket) -> str:
    """The address of a socket, for a browser."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_local(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
