"""Results, in the words that the test harness reads: see ../README.md."""

import os
import sys
import traceback

BOOTSTRAP = os.environ["KLAMM_BOOTSTRAP"]


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
