"""Progress of long work, shown with tqdm where it is installed."""

import sys


class Progress:
    """Shows stages as bars of tqdm on stderr, and messages as lines.

    Without tqdm, or if stderr is not a terminal, only messages are shown.
    """

    def __init__(self):
        self._bar = None
        try:
            from tqdm.auto import tqdm
        except ImportError:
            tqdm = None
        self._tqdm = tqdm if sys.stderr.isatty() else None

    def begin(self, stage, total):
        self.end()
        if self._tqdm is not None:
            self._bar = self._tqdm(total=total or None, desc=stage, leave=False)

    def advance(self, done):
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def status(self, text):
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def end(self):
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def note(self, message):
        if self._bar is not None:
            self._bar.write(message, file=sys.stderr)
        else:
            print(message, file=sys.stderr)


def listener(progress):
    """Returns the object that receives reports; for ``True`` one that shows them."""
    if progress is True:
        return Progress()
    return progress or None
