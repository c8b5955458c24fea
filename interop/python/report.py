"""Results, in the words that the test harness reads: see ../README.md."""

import os
import sys
import time
import traceback

BOOTSTRAP = os.environ["KLAMM_BOOTSTRAP"]
# Kafka answers a change before all of it shows, and shows partitions before they serve. Klamm must not.
ANSWERS_EARLY = os.environ["KLAMM_BROKER"] == "kafka"
# How long Kafka gets, on a slow machine that is busy with other things.
PATIENCE = 60


class Report:
    """Collects results; `end` leaves with what the harness expects."""

    def __init__(self):
        self.failed = False

    def check(self, name, work):
        """One result: `work` raises when it is bad."""
        try:
            work()
        except Exception as error:
            self.failed = True
            traceback.print_exc()
            reason = " ".join(f"{type(error).__name__} {error}".split())
            print(f"not ok {name}: {reason[:400]}")
        else:
            print(f"ok {name}")

    def end(self):
        sys.stdout.flush()
        # Not an exit: a client's background threads may still be trying to reach a broker that is gone.
        os._exit(1 if self.failed else 0)


def same(found, expected):
    """Raises unless two values are equal, and shows where they are not."""
    if found == expected:
        return
    if isinstance(found, list) and isinstance(expected, list):
        if len(found) != len(expected):
            raise AssertionError(f"{len(found)} items, not {len(expected)}")
        for index, (one, other) in enumerate(zip(found, expected)):
            if one != other:
                raise AssertionError(f"item {index} is {one!r:.200}, not {other!r:.200}")
    raise AssertionError(f"{found!r:.200}, not {expected!r:.200}")


def settled(read, expected):
    """Raises unless what shows after a change is as expected: at once, of a broker that does not answer early."""
    limit = time.monotonic() + PATIENCE
    while ANSWERS_EARLY and time.monotonic() < limit:
        try:
            if read() == expected:
                return
        except Exception as error:
            print(f"not yet: {error!r:.200}")
        time.sleep(0.05)
    same(read(), expected)
