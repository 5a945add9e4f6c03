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
        self._over, self._writing, self._is_shown = threading.Event(), threading.Lock(), False
        self._thread = (
            None if quiet or not sys.stderr.isatty() else threading.Thread(target=self._show, daemon=True)
        )

    def at(self, step: str) -> None:
        """Say which step begins."""
        self.step = step

    def say(self, line: str) -> None:
        """Print a line to stdout, in place of the one shown where both go to one terminal."""
        with self._writing:
            self._clear()
            print(line, flush=self._thread is not None)

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
        started, wait = time.monotonic(), self.after_s
        while not self._over.wait(wait):
            text = f"{self.what}{f': {self.step}' if self.step else ''} ({time.monotonic() - started:.0f} s)"
            with self._writing:
                sys.stderr.write(CLEAR + text[: shutil.get_terminal_size().columns - 1])
                sys.stderr.flush()
                self._is_shown = True
            wait = EVERY_S
        self._clear()

    def _clear(self) -> None:
        if self._is_shown:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()
            self._is_shown = False
