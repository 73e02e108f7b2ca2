"""The contents of the page of a batch: each tree, with the outcomes of its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from akool_async import ButtonPress
from akool_async.cli.gallery.contents import Contents, Root

if TYPE_CHECKING:
    from akool_async.cli.batch.nodes import Node
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Plan
    from akool_async.cli.batch.tally import Tally


def contents_of(plan: Plan, output: OutputFile, tally: Tally) -> Contents:
    """Return the present contents of the page."""
    nodes = [node.id for root in plan.roots for node in root.walk()]
    roots = [_root_of(node, plan) for node in plan.roots]
    accepted = {node: line.id for node, line in output.accepted.items() if line.id is not None}
    return Contents(
        title=plan.batch.name,
        roots=list({root.node: root for root in roots}.values()),
        lines={node: output.lines[node] for node in nodes if node in output.lines},
        running={fetch.node.id: fetch.operation_id for fetch in plan.to_fetch} | accepted,
        planned=frozenset(nodes),
        seconds=dict(tally.seconds),
    )


def _root_of(node: Node, plan: Plan) -> Root:
    item = node.entry.item
    if isinstance(item, ButtonPress):
        return Root.of_image(item.image_id, plan.sources.get(item.image_id))
    return Root(node=node.id, name=node.name or item.key or "", prompt=item.text)
