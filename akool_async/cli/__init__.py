"""The `akool` command. Needs the extra `cli`; exit statuses are in `_exit.py`."""

import sys

from akool_async.cli._exit import ExitStatus


def main() -> None:
    """Run the command, or say what to install."""
    try:
        from akool_async.cli._app import run  # noqa: PLC0415 - click and rich come with the extra
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        print(f'akool: {error.name} is missing; install it with: pip install "akool-async[cli]"', file=sys.stderr)  # noqa: T201
        sys.exit(ExitStatus.ERROR)
    sys.exit(run())


__all__ = ["ExitStatus", "main"]
