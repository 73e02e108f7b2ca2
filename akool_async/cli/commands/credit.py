"""`akool credit`: the account's balance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from attrs import frozen

from akool_async.cli import options, signals
from akool_async.cli.account import open_session
from akool_async.cli.exit_status import ExitStatus
from akool_async.cli.output.streams import print_results

if TYPE_CHECKING:
    from akool_async.cli.account import KeyFile


@frozen(kw_only=True)
class CreditOptions:
    """The options of `akool credit`."""

    key_file: KeyFile | None
    as_json: bool


@click.command()
@options.key_file
@options.as_json
@options.typed(CreditOptions)
def credit(options: CreditOptions) -> int:
    """Show the account's balance in credits."""
    return signals.run(run(options))


async def run(options: CreditOptions) -> ExitStatus:
    """Read the balance and print it."""
    async with open_session(options.key_file) as akool:
        balance = await akool.get_credit()
    print_results([json.dumps({"credit": balance}) if options.as_json else f"{balance:.10g}"])
    return ExitStatus.DONE
