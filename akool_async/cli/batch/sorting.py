"""What a run does with each node of a tree, decided by the lines of earlier runs and by the source images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen

from akool_async import AkoolError, APIError, ButtonPress, ImageStatus, Operation, Outcome, OutcomeUnknownError
from akool_async._fan_out.preflight import ALREADY_USED, obstacle_of
from akool_async._fan_out.tree import outcomes_below
from akool_async.cli.batch.earlier import USED, Step, next_step
from akool_async.cli.batch.plan import Fetch, Refused, Task
from akool_async.cli.messages import reason_of
from akool_async.cli.outcomes.describe import with_outcome
from akool_async.cli.outcomes.line import TREE_FIELDS, PressState
from akool_async.items import press_of, prompt_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from akool_async import ImageResult
    from akool_async._limits.credits import Prices
    from akool_async.cli.batch.nodes import Node
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Steps
    from akool_async.cli.outcomes.line import NodeId, OutcomeLine
    from akool_async.items import Branch, Item

UNDER_WAY: Final = "an earlier run was killed while it sent this prompt, which may have been charged"


@frozen(kw_only=True)
class Rules:
    """The options that concern earlier runs."""

    with_files: bool
    """True if a node is only done once its pictures are on disk."""
    retry_unknown: bool
    """True if prompts with an unknown outcome are sent again."""


@define(eq=False)
class Sorter:
    """Sorts nodes into the lists of some steps."""

    _steps: Steps
    _output: OutputFile
    _rules: Rules
    _stored: Collection[NodeId] = ()
    """The roots that are recorded in a store."""
    _open: list[tuple[Node, ButtonPress]] = field(factory=list, init=False)
    """Presses that depend on their source images."""

    @property
    def image_ids(self) -> list[str]:
        """The ids of the source images to read, each once."""
        return list(dict.fromkeys(press.image_id for _, press in self._open))

    def sort(self, node: Node, item: Item) -> None:
        """Sort a node and all nodes below it, as far as the lines of earlier runs are enough for that."""
        line, accepted = self._line_of(node, item), self._output.accepted.get(node.id)
        if line is not None and line.id is not None and line.prompt not in (None, node.line().prompt):
            self._steps.changed.append(node)
        if accepted is not None and accepted.id is not None:
            self._fetch(node, item, accepted.id)
        elif node.is_root and node.id in self._stored and not self._is_finished(node):
            self._steps.recorded.append(Task(node, item))
        elif line is not None and line.id is not None:
            self._sort_accepted(node, item, line, line.id)
        elif isinstance(item, ButtonPress):
            self._sort_press(node, item, line)
        else:
            self._sort_prompt(node, item, line)

    def sort_by_sources(self, sources: Mapping[str, ImageResult | APIError], prices: Prices) -> None:
        """Sort the remaining presses, which depend on their source images."""
        for node, press in self._open:
            self._sort_by_source(node, press, sources[press.image_id], prices)
        self._open.clear()

    def _line_of(self, node: Node, item: Item) -> OutcomeLine | None:
        """Return the line of a node from earlier runs. A line of the same press for another node counts too."""
        line = self._output.lines.get(node.id)
        if not isinstance(item, ButtonPress) or (line is not None and line.id is not None):
            return line
        other = self._output.line_of_press(item)
        if other is not None:
            own = node.line(item.image_id)
            line = evolve(other, **{name: getattr(own, name) for name in TREE_FIELDS})
            self._steps.shared.append(line)
        return line

    def _is_finished(self, node: Node) -> bool:
        """Return whether earlier runs wrote the final line of every node of a tree."""
        lines = [self._output.lines.get(each.id) for each in node.walk()]
        return all(line is not None and line.is_over for line in lines)

    def _sort_accepted(self, node: Node, item: Item, line: OutcomeLine, operation_id: str) -> None:
        if line.status == ImageStatus.FAILED:
            self._steps.failed.append(line)
            self._leave_out(node, item, AkoolError(line.error or "it failed"), operation_id)
        elif not line.is_made:
            self._fetch(node, item, operation_id)
        else:
            if line.ok and (line.has_files or not self._rules.with_files):
                self._steps.done.append(line)
            else:
                self._steps.to_fetch.append(Fetch(node, operation_id, press_of(item)))
            for child in node.children():
                self.sort(child, child.press(operation_id))

    def _fetch(self, node: Node, item: Item, operation_id: str) -> None:
        later = []
        for child in node.children():
            if self._has_id(child):
                self.sort(child, child.press(operation_id))
            else:
                later.append(child)
        self._steps.to_fetch.append(Fetch(node, operation_id, press_of(item), tuple(later)))

    def _has_id(self, node: Node) -> bool:
        line = self._output.lines.get(node.id)
        return node.id in self._output.accepted or (line is not None and line.id is not None)

    def _sort_prompt(self, node: Node, item: Item, line: OutcomeLine | None) -> None:
        is_unsettled = line is not None and not line.is_settled
        is_unknown = is_unsettled or node.id in self._output.sending
        if not is_unknown or self._rules.retry_unknown:
            task = Task(node, item)
            self._steps.to_press.append(task)
            self._steps.sent_again += [task] if is_unknown else []
        else:
            known = line if is_unsettled and line is not None else evolve(node.line(), charged=None, error=UNDER_WAY)
            self._keep(node, item, known)

    def _sort_press(self, node: Node, press: ButtonPress, line: OutcomeLine | None) -> None:
        if line is not None and line.state is PressState.LOST:
            self._keep(node, press, line)
        else:
            self._open.append((node, press))

    def _sort_by_source(self, node: Node, press: ButtonPress, source: ImageResult | APIError, prices: Prices) -> None:
        earlier = self._output.lines.get(node.id)
        obstacle = None if isinstance(source, APIError) else obstacle_of(source, press.button)
        is_used = obstacle is not None and obstacle.code == ALREADY_USED
        is_offered = obstacle is None and not isinstance(source, APIError)
        step = next_step(None if earlier is None else earlier.state, is_used=is_used, is_offered=is_offered)
        if step is Step.PRESS:
            self._steps.to_press.append(Task(node, press))
        elif step is Step.KEEP_LOST and earlier is not None:
            price = prices.expected(press.kind)
            self._keep(node, press, evolve(earlier, charged=True, credits=price, error=USED, code=None))
        elif step is Step.KEEP_IN_DOUBT and earlier is not None:
            self._keep(node, press, earlier)
        elif isinstance(source, APIError):
            self._refuse(Refused(node, press, reason_of(source), source.code))
        elif obstacle is not None:
            self._refuse(Refused(node, press, obstacle.reason, obstacle.code, is_used=is_used))

    def _keep(self, node: Node, item: Item, line: OutcomeLine) -> None:
        """Keep the line of a node that was charged or may have been."""
        self._steps.lost.append(line)
        unknown = OutcomeUnknownError(line.error or "its reply was lost", charged=line.charged)
        self._leave_out(node, item, unknown, None)

    def _refuse(self, refused: Refused) -> None:
        self._steps.refused.append(refused)
        self._leave_out(refused.node, refused.press, AkoolError(refused.reason), None)

    def _leave_out(self, node: Node, item: Item, error: AkoolError, operation_id: str | None) -> None:
        """Note that nothing is pressed on the result of this node, since it has none."""
        operation = None if operation_id is None else Operation(operation_id)
        outcome = Outcome(press_of(item), operation, error=error, prompt=prompt_of(item))
        self._steps.not_pressed += lines_below(node, outcome, node.then, self._output)


def lines_below(
    node: Node, outcome: Outcome, branches: tuple[Branch, ...], output: OutputFile
) -> Iterator[OutcomeLine]:
    """Yield the lines of presses on the result of a node that was not made.

    A press that has an id, or that may have been charged, is skipped.

    Args:
        node: The node.
        outcome: The outcome of the node.
        branches: The presses on its result.
        output: The lines of earlier runs.
    """
    for below in outcomes_below(outcome, branches):
        child = node.descend(below.path[len(outcome.path) :])
        known = output.lines.get(child.id)
        if child.id not in output.accepted and (known is None or (known.id is None and known.is_settled)):
            image_id = None if below.press is None else below.press.image_id
            yield with_outcome(child.line(image_id), below)
