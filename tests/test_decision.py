"""The decision after each reply to a paid POST: the README's table of outcomes, without an event loop."""

from itertools import product

import pytest

from akool_async import errors as e
from akool_async._submit.decision import (
    MAX_LOST_REPLIES,
    Fail,
    FindOut,
    Finish,
    Reply,
    Retry,
    Source,
    Unknown,
    after_finding_out,
    after_reply,
    reply_of,
)

FINISH, FAIL, RETRY, FIND_OUT = Finish(), Fail(), Retry(), FindOut()
CHARGED, IN_DOUBT = True, None


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (None, Reply.ACCEPTED),
        (e.TransportError("refused", delivered=False), Reply.NOT_DELIVERED),
        (e.TransportError("reset"), Reply.LOST),
        (e.ResponseError("html", http_status=200), Reply.LOST),
        (e.ResponseError("html", http_status=502), Reply.LOST),
        (e.APIError(500, "oops", 500), Reply.LOST),
        (e.APIError(500, "oops", 200), Reply.LOST),
        (e.APIError(-1, "oops", 200), Reply.LOST),
        (e.APIError(4711, "oops", 408), Reply.LOST),
        (e.APIError(4711, "news", 200), Reply.REFUSED),
        (e.NotOperableError(1010, "used", 500), Reply.BUTTON_REFUSED),
        (e.AlreadyUsedError(1011, "used"), Reply.BUTTON_REFUSED),
        (e.RateLimitedError(1005, "often"), Reply.THROTTLED),
        (e.RateLimitedError(429, "often", 429), Reply.THROTTLED),
        (e.AuthenticationError(1101, "bad"), Reply.REFUSED),
        (e.GenerationError(1108, "later"), Reply.REFUSED),
        (e.SessionClosedError(), Reply.REFUSED),
    ],
)
def test_kinds_of_replies(error, reply):
    """Only a press that AKOOL certainly did not accept may be sent again. Otherwise it is unknown."""
    assert reply_of(error) is reply


# (reply, can retry) -> (decision without an earlier lost reply, decision after one)
AFTER_REPLY = {
    (Reply.ACCEPTED, "retries"): (FINISH, FINISH),
    (Reply.ACCEPTED, "no retries"): (FINISH, FINISH),
    (Reply.REFUSED, "retries"): (FAIL, IN_DOUBT),
    (Reply.REFUSED, "no retries"): (FAIL, IN_DOUBT),
    (Reply.BUTTON_REFUSED, "retries"): (FAIL, CHARGED),
    (Reply.BUTTON_REFUSED, "no retries"): (FAIL, CHARGED),
    (Reply.THROTTLED, "retries"): (RETRY, RETRY),
    (Reply.THROTTLED, "no retries"): (FAIL, IN_DOUBT),
    (Reply.NOT_DELIVERED, "retries"): (RETRY, RETRY),
    (Reply.NOT_DELIVERED, "no retries"): (FAIL, IN_DOUBT),
    (Reply.LOST, "retries"): (FIND_OUT, FIND_OUT),
    (Reply.LOST, "no retries"): (FIND_OUT, FIND_OUT),
}


def test_the_table_has_every_reply():
    """The table below has every kind of reply."""
    assert set(AFTER_REPLY) == set(product(Reply, ["retries", "no retries"]))
    assert set(AFTER_FINDING_OUT) == set(Source)


@pytest.mark.parametrize("lost_replies", range(MAX_LOST_REPLIES))
@pytest.mark.parametrize(("reply", "retries"), AFTER_REPLY)
def test_decision_after_a_reply_to_a_press(reply, retries, lost_replies):
    """Every row of the README's table of outcomes, with every number of earlier lost replies."""
    decision = after_reply(reply, lost_replies=lost_replies, can_retry=retries == "retries", is_press=True)
    expected = AFTER_REPLY[reply, retries][lost_replies > 0]
    assert summary(decision) == expected


@pytest.mark.parametrize("can_retry", [True, False])
@pytest.mark.parametrize("reply", Reply)
def test_decision_after_a_reply_to_a_prompt(reply, can_retry):
    """A prompt is treated like a press, but a lost reply ends it: nothing shows its outcome."""
    decision = after_reply(reply, lost_replies=0, can_retry=can_retry, is_press=False)
    as_a_press = after_reply(reply, lost_replies=0, can_retry=can_retry, is_press=True)
    assert summary(decision) == (IN_DOUBT if reply is Reply.LOST else as_a_press)


# source -> (decision if it may be sent again, decision otherwise)
AFTER_FINDING_OUT = {
    Source.USED: (CHARGED, CHARGED),
    Source.OFFERED: (RETRY, IN_DOUBT),
    Source.ABSENT: (IN_DOUBT, IN_DOUBT),
    Source.UNREADABLE: (IN_DOUBT, IN_DOUBT),
    Source.REPORTED: (CHARGED, CHARGED),
}


@pytest.mark.parametrize("can_retry", [True, False])
@pytest.mark.parametrize("lost_replies", range(1, MAX_LOST_REPLIES + 1))
@pytest.mark.parametrize("source", Source)
def test_decision_after_finding_out(source, lost_replies, can_retry):
    """A press is sent again only if two reads offer its button, and not after three lost replies."""
    decision = after_finding_out(source, lost_replies=lost_replies, can_retry=can_retry)
    may_be_sent = can_retry and lost_replies < MAX_LOST_REPLIES
    assert summary(decision) == AFTER_FINDING_OUT[source][not may_be_sent]


def summary(decision):
    """Return the name of a decision, and for an unknown outcome also whether it is known to be charged."""
    return decision.charged if isinstance(decision, Unknown) else decision
