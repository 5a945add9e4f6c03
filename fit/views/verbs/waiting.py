"""Says on a terminal what a long computation is at: a line on stderr from its third second on, gone when it ends."""

import shutil
import sys
import threading
import time
from types import TracebackType

AFTER_S, EVERY_S = 2.0, 0.5
CLEAR = "\r\x1b[K"


class Waiting:
    """While the block runs, shows `fitting: L_N, k=16 (12 s)` on stderr; nothing where that is no terminal.

    Parameters
    ----------
    what : what is done, `fitting`.
    quiet : show nothing.
    after_s : seconds before the line appears, so that a quick answer shows none.
    """

    def __init__(self, what: str, quiet: bool = False, after_s: float = AFTER_S) -> None:
        self.what, self.step, self.after_s = what, "", after_s
        self._over = threading.Event()
        self._thread = (
            None if quiet or not sys.stderr.isatty() else threading.Thread(target=self._show, daemon=True)
        )

    def at(self, step: str) -> None:
        """Say which step begins."""
        self.step = step

    def __enter__(self) -> "Waiting":
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self) -> None:
        started, wait, shown = time.monotonic(), self.after_s, False
        while not self._over.wait(wait):
            text = f"{self.what}{f': {self.step}' if self.step else ''} ({time.monotonic() - started:.0f} s)"
            sys.stderr.write(CLEAR + text[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()
            wait, shown = EVERY_S, True
        if shown:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()
