"""Client credentials: one token for all, renewed once, never in a loop."""

import asyncio

import aiohttp
import pytest

from akool_async import AkoolSession, AuthenticationError, ClientCredentials, SessionClosedError, TransportError
from akool_async.emulator import Fault
from tests.support.schedules import FAST
from tests.support.scripted import scripted_server

ENDED = {"code": 1101, "msg": "token expired"}


@pytest.fixture
async def akool(emulator):
    credentials = ClientCredentials(emulator.client_id, emulator.client_secret)
    async with AkoolSession(credentials, base_url=emulator.base_url, polling=FAST) as akool:
        yield akool


async def test_closing_ends_a_wait_for_a_token(emulator):
    """A caller that waits for a token when the session closes gets SessionClosedError, not a CancelledError."""
    emulator.faults.script("get_token", Fault.stall("after"))
    credentials = ClientCredentials(emulator.client_id, emulator.client_secret)
    akool = AkoolSession(credentials, base_url=emulator.base_url)
    reading = asyncio.create_task(akool.get_credit())
    await emulator.ledger.until(lambda ledger: ledger.requests["get_token"])
    await akool.aclose()
    with pytest.raises(SessionClosedError):
        await reading


async def test_a_closed_injected_session_is_reported_immediately(emulator):
    """With client credentials too, a closed aiohttp session raises SessionClosedError, not an error about the token."""
    http = aiohttp.ClientSession()
    credentials = ClientCredentials(emulator.client_id, emulator.client_secret)
    async with AkoolSession(credentials, base_url=emulator.base_url, http=http) as akool:
        await http.close()
        with pytest.raises(SessionClosedError):
            await akool.get_credit()


async def test_one_token_for_any_number_of_callers(emulator, akool):
    """Fifty concurrent calls fetch one token."""
    await asyncio.gather(*(akool.get_credit() for _ in range(50)))
    assert emulator.ledger.tokens_issued == 1
    assert emulator.ledger.both_headers_sent == 0


async def test_an_ended_token_is_renewed_once_for_all(emulator, akool):
    """When AKOOL ends the token, fifty concurrent calls fetch one new token and all succeed."""
    await akool.get_credit()
    emulator.expire_tokens()
    await asyncio.gather(*(akool.get_credit() for _ in range(50)))
    assert emulator.ledger.tokens_issued == 2


async def test_a_token_that_ends_between_polls_does_not_end_the_wait(emulator, akool):
    """1101 during a wait, or for a press, leads to a renewal, and nothing is pressed twice."""
    source = emulator.add_image()
    await akool.get_credit()
    emulator.expire_tokens()
    operation = await akool.upscale(source, 1)
    emulator.expire_tokens()
    await operation.wait_until_complete()
    assert emulator.ledger.presses_accepted == {(source, "U1"): 1}
    assert emulator.ledger.tokens_issued == 3


async def test_a_renewal_that_does_not_help_is_not_repeated():
    """A service that ends every token gets one renewal per request, and then the caller gets the error."""
    async with scripted_server({"code": 1000, "token": "a"}, ENDED, {"code": 1000, "token": "b"}, ENDED) as server:
        async with AkoolSession(ClientCredentials("id", "a-client-secret"), base_url=server.base_url) as akool:
            with pytest.raises(AuthenticationError, match="1101"):
                await akool.get_credit()
    assert [asked.path.rpartition("/")[2] for asked in server.asked] == ["getToken", "info"] * 2


async def test_a_bad_pair_is_an_authentication_error(emulator):
    """A wrong secret raises AuthenticationError after one request, and nothing else is sent."""
    credentials = ClientCredentials(emulator.client_id, "not-the-secret")
    async with AkoolSession(credentials, base_url=emulator.base_url) as akool:
        with pytest.raises(AuthenticationError) as caught:
            await akool.create_by_button(emulator.add_image(), "U1")
    assert "not-the-secret" not in str(caught.value)
    assert emulator.ledger.requests == {"get_token": 1}


async def test_a_bad_key_is_not_renewed(emulator):
    """An API key that AKOOL refuses is tried once."""
    async with AkoolSession("wrong-key", base_url=emulator.base_url) as akool:
        with pytest.raises(AuthenticationError):
            await akool.get_credit()
    assert emulator.ledger.requests == {"get_credit": 1}


async def test_a_press_is_not_in_doubt_when_only_the_token_request_was_lost(emulator, akool):
    """A reply lost while fetching the token leaves the press unsent: it is tried again, and made once."""
    emulator.faults.script("get_token", Fault.reset("after"), Fault.status(502, "before"))
    source = emulator.add_image()
    await akool.upscale(source, 1)
    assert emulator.ledger.presses_accepted == {(source, "U1"): 1}
    assert emulator.ledger.requests["create_by_button"] == 1


async def test_a_failing_token_service_leaves_a_prompt_unsent():
    """HTTP 500 in an envelope of AKOOL's for Get Token does not concern the prompt, which was never sent."""
    failing = {"status": 500, "text": '{"code": 500, "msg": "internal"}'}
    async with scripted_server(failing) as server:
        async with AkoolSession(ClientCredentials("id", "a-client-secret"), base_url=server.base_url) as akool:
            with pytest.raises(TransportError) as caught:
                await akool.get_credit()
    assert caught.value.delivered is False


async def test_without_any_token_the_caller_learns_that_nothing_was_sent(emulator, akool):
    """If Get Token never answers properly, a read ends in a TransportError marked as not delivered."""
    emulator.faults.rate(1.0, Fault.html("before"), endpoints=["get_token"])
    with pytest.raises(TransportError) as caught:
        await akool.get_credit()
    assert caught.value.delivered is False
    assert emulator.ledger.requests["get_credit"] == 0
