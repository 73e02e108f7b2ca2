"""The `akool` command. Needs the extra `cli`; exit statuses are in `_exit.py`."""

import sys

from akool_async.cli.exit_status import ExitStatus

_OF_THE_EXTRA = {"PIL", "click", "cryptography", "dotenv", "jinja2", "portalocker", "rich"}


def main() -> None:
    """Run the command, or say what to install."""
    try:
        from akool_async.cli.app import run  # noqa: PLC0415 - what it needs comes with the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_THE_EXTRA:
            raise
        print(f'akool: {error.name} is missing; install it with: pip install "akool-async[cli]"', file=sys.stderr)  # noqa: T201
        sys.exit(ExitStatus.ERROR)
    except KeyboardInterrupt:  # as early as that
        sys.exit(ExitStatus.INTERRUPTED)
    sys.exit(run())


__all__ = ["ExitStatus", "main"]
