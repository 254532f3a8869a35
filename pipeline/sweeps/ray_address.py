"""The address of a Ray cluster, checked before Ray itself tries it for minutes."""

import os
import socket
from urllib.parse import urlsplit

import grpc
from ray._private.ray_constants import GLOBAL_GRPC_OPTIONS
from ray._private.services import canonicalize_bootstrap_address

from pipeline.errors import UserError

TIMEOUT = 5.0  # seconds for an address to answer
CLIENT_PORT = 10001  # Ray's default for ray://HOST


def check_address(address: str) -> None:
    """Check that a server that speaks gRPC, as Ray does, answers at an address.

    Args:
        address: `auto`, `local`, `ray://HOST:PORT` or `HOST:PORT`; only the last two can be checked.

    Raises:
        UserError: No such server answers, or this is not an address.
    """
    if address == "local":
        return
    try:
        # Ray resolves `auto` to the cluster that was last started here, and 127.0.0.1 to another address.
        resolved = address if address.startswith("ray://") else canonicalize_bootstrap_address(address)
        if resolved is None:
            return
        url = urlsplit(resolved if "://" in resolved else f"//{resolved}")
        port = url.port or (CLIENT_PORT if url.scheme == "ray" else None)
        if not url.hostname or not port or url.scheme not in ("", "ray"):
            raise ValueError
    except ValueError:
        raise UserError(f"--ray {address}: should be auto, local, ray://HOST:PORT or HOST:PORT") from None
    shown = f"--ray {address}" + ("" if resolved == address else f" ({resolved})")
    try:
        socket.create_connection((url.hostname, port), TIMEOUT).close()
        if not os.environ.get("RAY_USE_TLS"):
            target = url.netloc if url.port else f"{url.netloc}:{port}"
            with grpc.insecure_channel(target, GLOBAL_GRPC_OPTIONS) as channel:  # http_proxy is not asked
                grpc.channel_ready_future(channel).result(TIMEOUT)
    except OSError as error:
        raise UserError(f"{shown}: cannot be reached: {error.strerror or error}") from None
    except grpc.FutureTimeoutError:
        raise UserError(f"{shown}: the server there is not Ray") from None
