"""What a process with an environment of its own needs for its coverage to be measured along with the tests'."""

import os


def measuring():
    """The variables by which coverage measures subprocesses; none if nothing is measured."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS_")}
