"""``python -m lfmri_node.node.gateway.keeper COMMAND...``: a program that ends with whoever asked for it.

The asker holds the other end of stdin. When that end is gone, killed or not, the program goes with it, and so
does what it started. Otherwise this ends as the program does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

NOT_STARTED = 126


def main() -> None:
    """Run the command; this process leads the group that is killed."""
    words = sys.argv[1:]
    threading.Thread(target=_end_with_asker, daemon=True).start()
    try:
        status = subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", flush=True)
        status = NOT_STARTED
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)  # the thread that reads stdin would keep the interpreter


def _end_with_asker() -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
