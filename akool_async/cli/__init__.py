"""The `akool` command. Needs the extra `cli`.

Its modules and packages, from the command line down. Each imports only from those below it::

    app            the tree of commands, and the end of each
    commands/      one file for each command or family of commands: its options and its work
    options        options that several commands take
    batch/         `akool fan-out`: the input file, the plan, the run, the output that a later run continues
    following/     the progress of a few operations, from the POST to the pictures on disk, in a live table
    gallery/       the page of `--gallery` and of the demo
    account        keys, sessions and stores
    exit_status    the exit statuses, and which errors lead to them
    outcomes/      the outcome of a press: its line of JSON, its charge, what to do if its id is lost
    messages       errors as sentences for people
    output/        stdout, stderr, terminals, folders
    signals        Ctrl-C, SIGTERM and SIGHUP
"""

import sys

from akool_async import _validate
from akool_async.cli.exit_status import ExitStatus

_PACKAGES_OF_EXTRA = {"PIL", "click", "cryptography", "dotenv", "jinja2", "portalocker", "rich"}


def main() -> None:
    """Run the command, or say what to install."""
    try:
        from akool_async.cli.app import run  # noqa: PLC0415 - it imports packages of the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES_OF_EXTRA:
            raise
        print(f"akool: {_validate.install_hint(error.name, 'cli')}", file=sys.stderr)  # noqa: T201
        sys.exit(ExitStatus.ERROR)
    except KeyboardInterrupt:  # during the import
        sys.exit(ExitStatus.INTERRUPTED)
    sys.exit(run())


__all__ = ["ExitStatus", "main"]
