"""What the command tells the shell."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses; a script can tell a failed job from one that only took too long."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    SOME_FAILED = 3
    TIMED_OUT = 4
    OUTCOME_UNKNOWN = 5
    INTERRUPTED = 130
