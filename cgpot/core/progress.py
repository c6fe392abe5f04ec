# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress bars: rich on a terminal, sparse lines elsewhere, silent when asked."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress(
    description: str,
    total: int | None,
    *,
    quiet: bool = False,
    status: Callable[[], str] | None = None,
) -> Iterator[Advance]:
    """Yield a function ``advance(n)`` that moves a progress bar by ``n``.

    On a terminal a rich bar with rate and time left; without one a line on stderr at most
    every 30 seconds, so that logs of batch jobs stay readable.  ``status`` gives a few words
    (a loss, say) that are shown behind the description whenever the bar moves.
    """
    if quiet:
        yield lambda n: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(description, total=total)

            def move(n: int) -> None:
                if status is not None:
                    bar.update(task, description=f"{description} {status()}".rstrip())
                bar.advance(task, n)

            yield move
        return
    start = last = time.monotonic()
    done = 0

    def advance(n: int) -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= 30.0:
            last = now
            of = f"/{total}" if total else ""
            left = ""
            if total and done:
                left = f", {(total - done) * (now - start) / done:.0f} s left"
            words = f", {status()}" if status is not None and status() else ""
            line = f"{description}: {done}{of}, {now - start:.0f} s{left}{words}"
            print(line, file=sys.stderr)

    yield advance
