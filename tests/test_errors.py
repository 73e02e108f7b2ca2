"""The error tree: complete, drawn in the docstring, and able to be pickled."""

import copy
import pickle

import pytest

from akool_async import ButtonPress, ImageResult, errors
from akool_async.errors import AkoolError, APIError

CLASSES = {
    name: item
    for name, item in vars(errors).items()
    if isinstance(item, type) and issubclass(item, AkoolError) and item is not AkoolError
}
PARENTS = {
    "AkoolError": "ConfigurationError TransportError ResponseError APIError OutcomeUnknownError BudgetError "
    "OperationFailedError WaitTimeoutError PollingError ResultExpiredError DownloadError SessionClosedError "
    "WebhookError NotPressedError",
    "APIError": "AuthenticationError InvalidParameterError RateLimitedError InsufficientCreditError NotFoundError "
    "NotPermittedError NotOperableError GenerationError AccountBannedError",
    "NotOperableError": "AlreadyUsedError",
}
SPECIAL = {
    "TransportError": lambda: errors.TransportError("no reply", delivered=False),
    "ResponseError": lambda: errors.ResponseError("html", http_status=502, retry_after=3.0),
    "OutcomeUnknownError": lambda: errors.OutcomeUnknownError("lost", charged=True),
    "BudgetError": lambda: errors.BudgetError(max_credits=10, charged=9, price=2),
    "OperationFailedError": lambda: errors.OperationFailedError(ImageResult(id="op-1", error_reasons=("dark",))),
    "WaitTimeoutError": lambda: errors.WaitTimeoutError("op-1", 3.0, 2),
    "PollingError": lambda: errors.PollingError("op-1", status=2, age=60.0, reason="502"),
    "SessionClosedError": lambda: errors.SessionClosedError(operation_ids=("op-1",)),
}


def make(name):
    if name in SPECIAL:
        return SPECIAL[name]()
    if issubclass(CLASSES[name], APIError):
        return CLASSES[name](1010, "no", 200, retry_after=1.5)
    return CLASSES[name]("it broke")


def test_the_tree_is_complete():
    """The classes and their parents are those of the design."""
    expected = {child: parent for parent, children in PARENTS.items() for child in children.split()}
    assert {name: cls.__mro__[1].__name__ for name, cls in CLASSES.items()} == expected


def test_the_tree_is_drawn():
    """The module's drawing names every class."""
    for name in CLASSES:
        assert f"── {name} " in errors.__doc__


def test_some_errors_are_python_s_own_too():
    """A timeout can be caught as TimeoutError, and a wrong configuration as ValueError."""
    assert isinstance(make("WaitTimeoutError"), TimeoutError)
    assert isinstance(make("ConfigurationError"), ValueError)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    "travel",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy, AkoolError.fresh],
    ids=["pickle", "copy", "deepcopy", "fresh"],
)
def test_every_error_pickles_and_copies(name, travel):
    """Class, message and all attributes survive pickling, also the operation's id and the press."""
    error = make(name).about(operation_id="op-1", press=ButtonPress("image-1", "U1"))
    there = travel(error)
    assert type(there) is type(error)
    assert str(there) == str(error)
    assert there.args == error.args
    assert vars(there) == vars(error)
    assert there.operation_id == "op-1"
    assert "op-1" in str(there)
    assert "U1 of image image-1" in str(there)


def test_an_error_keeps_what_it_is_about():
    """A later call of about() does not replace what an earlier one recorded."""
    error = make("NotFoundError").about(operation_id="first").about(operation_id="second")
    assert error.operation_id == "first"
