"""A page as a PDF, printed by a browser that may ask nobody for anything."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from argo_alpine.domain import Invalid, Unavailable

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120.0
QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name leads anywhere, and no address either:
    "--proxy-server=http://127.0.0.1:9",  # nobody answers at the port for discarding
    "--window-size=720,1000",  # as wide as A4 less its margins: figures are drawn to fit
    "--virtual-time-budget=20000",
    "--no-pdf-header-footer",
)


def browser() -> str:
    """The browser that prints. *Raises* `Unavailable` when none is here."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise Unavailable(
        f"a PDF needs a browser, and none of {', '.join(BROWSERS)} is here: "
        "install one (apt-get install chromium), or print report.html from yours"
    )


def printed(page: Path, out: Path, program: str, seconds: float = SECONDS) -> Path:
    """Print a page. *Raises* `Unavailable` when it takes too long, `Invalid` when it fails."""
    root = os.geteuid() == 0  # its own sandbox refuses to run for root
    with tempfile.TemporaryDirectory(prefix="argo-alpine-pdf-", ignore_cleanup_errors=True) as home:
        command = [
            *(program, *QUIET, *(("--no-sandbox",) if root else ())),
            *(f"--user-data-dir={home}", f"--print-to-pdf={out.absolute()}"),
            page.absolute().as_uri(),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{program} did not print {page} in {seconds:g} s") from None
        except OSError as error:
            raise Unavailable(f"{program} does not start: {error}") from error
    if done.returncode or not out.is_file() or not out.read_bytes().startswith(b"%PDF-"):
        said = " ".join(done.stderr.split())[-300:]
        raise Invalid(f"{program} made no PDF of {page} (exit code {done.returncode}): {said}")
    return out
