"""Measures the coverage of a process that has a separate environment together with that of the tests."""

import os


def measuring():
    """Return the variables with which coverage measures subprocesses; none if nothing is measured."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS_")}
