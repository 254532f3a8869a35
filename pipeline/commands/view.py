"""The command `view`."""

import contextlib
import time
import urllib.request
import webbrowser
from collections.abc import Callable

import click

from pipeline.commands.pages import has_display, link

STARTED = 120  # seconds that the pages may take to answer


@click.command()
def view() -> None:
    """Print where MLflow's pages show the saved view. Where there is a display, open it as soon as they are served.

    \b
    python -m pipeline view
    """
    address = link()
    print(address, flush=True)
    if has_display():
        open_when_served(address)


def open_when_served(address: str, wait: Callable[[float], object] = time.sleep) -> None:
    """Open a page in a browser as soon as its server answers, if it does."""
    health = f"{address.partition('#')[0]}health"
    for _ in range(STARTED):
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=5):  # noqa: S310
            webbrowser.open(address)
            return
        wait(1)
