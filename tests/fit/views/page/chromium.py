"""A headless Chromium: found on this machine, or installed by apt-get where root may do so."""

import os
import re
import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def program() -> str | None:
    """Its path, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def install() -> str | None:
    """Install it where it is missing; None when it is there, otherwise a sentence that says why it is not."""
    if program():
        return None
    lacking = "Tests of report.html in a browser need chromium"
    if os.geteuid() != 0:
        return f"{lacking}, and only root may install packages: sudo apt-get install chromium"
    if not shutil.which("apt-get"):
        return f"{lacking}, and this machine has no apt-get to install it with."
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode or not program():
        said = done.stderr.strip() or "it gave no reason"
        return f"{lacking}, and apt-get could not install it: {said.splitlines()[-1]}"
    return None


class Browser:
    """Chromium with a profile of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.profile = folder / "profile"

    def run(self, url: str, *options: str) -> tuple[str, list[str]]:
        """What it prints for the page, and the lines that the page, or the browser about it, wrote to the console."""
        command = [
            str(program()),
            *(
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ),
            *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={self.profile}"),
            *("--virtual-time-budget=5000", "--enable-logging=stderr", "--v=0"),
            *options,
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.stdout, re.findall(r":CONSOLE.*", done.stderr)

    def dom(self, url: str, *options: str) -> tuple[str, list[str]]:
        """The document after its scripts have run, as HTML, and the console."""
        return self.run(url, "--dump-dom", *options)
