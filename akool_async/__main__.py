"""`python -m akool_async` is the `akool` command."""

from akool_async.cli import main

main()
