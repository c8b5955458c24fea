"""The books of a process that may be killed at any time: one line of JSON for each entry, written whole and at once, with the
moment by the machine's one clock. The other end is read by whoever started the process; when that one goes, so does this.
"""

import json
import os
import sys
import threading
import time

# How long a client waits for one thing.
LIMIT = 30
# What every client is told: a broker that is away is no news here.
QUIET = {"log_level": 2}


def say(what, **entry):
    """An entry. What is about to be done is said before, what is known after."""
    line = json.dumps({"say": what, "at": now(), **entry}, separators=(",", ":")) + "\n"
    # One call and no buffer: what was said is said even if this process dies in the next moment.
    rest = line.encode()
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest):]


def now():
    return time.monotonic_ns()


def until_told():
    """An event that is set when this process is to come to its end: its standard input ends."""
    told = threading.Event()

    def wait():
        while sys.stdin.readline():
            pass
        told.set()

    threading.Thread(target=wait, daemon=True).start()
    return told


def end(code=0):
    # Not an exit: a client's background threads may be waiting for a broker that is gone.
    os._exit(code)
