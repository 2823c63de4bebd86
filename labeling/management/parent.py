"""Ending together with the process that started this one.

`up` may be killed in a way that leaves it no time to stop its children; they would keep the port and the queue.
"""

import os
import signal
import threading
import time

PARENT_VARIABLE = "WINNOW_PARENT"
_POLL_SECONDS = 1.0


def end_with_parent() -> None:
    """Send SIGTERM to this process when its parent, named by the environment, is gone. Without one, do nothing."""
    named = os.environ.get(PARENT_VARIABLE, "")
    if not named.isdecimal() or not hasattr(os, "getppid"):
        return
    parent = int(named)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
