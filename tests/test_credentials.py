"""Credentials: where they come from, and that they are never shown."""

import asyncio
import copy
import pickle

import pytest

from akool_async import ApiKey, AuthenticationError, ClientCredentials, ConfigurationError
from akool_async._http.auth import KeyAuthenticator, TokenAuthenticator, read_credentials
from tests.support.scripted import KEY

PAIR = {"AKOOL_CLIENT_ID": "id", "AKOOL_CLIENT_SECRET": KEY}


@pytest.mark.parametrize(
    ("auth", "environment", "credentials"),
    [
        (KEY, {}, ApiKey(KEY)),
        (f" {KEY}\n", {}, ApiKey(KEY)),
        (ApiKey(KEY), {"AKOOL_API_KEY": "another-key"}, ApiKey(KEY)),
        (ClientCredentials("id", KEY), {}, ClientCredentials("id", KEY)),
        (None, {"AKOOL_API_KEY": f"{KEY}\n"}, ApiKey(KEY)),
        (None, PAIR, ClientCredentials("id", KEY)),
        (None, {**PAIR, "AKOOL_API_KEY": "the-key-"}, ApiKey("the-key-")),
        (None, {"AKOOL_API_KEY": "", **PAIR}, ClientCredentials("id", KEY)),
    ],
)
def test_where_credentials_come_from(auth, environment, credentials):
    """Arguments win over the environment, and a key over an id and secret. A trailing newline does no harm."""
    assert read_credentials(auth, environment) == credentials


@pytest.mark.parametrize(
    ("auth", "environment", "message"),
    [
        (None, {}, "AKOOL_API_KEY"),
        (None, {"AKOOL_CLIENT_ID": "id"}, "AKOOL_CLIENT_ID without AKOOL_CLIENT_SECRET"),
        (None, {"AKOOL_CLIENT_SECRET": KEY}, "AKOOL_CLIENT_SECRET without AKOOL_CLIENT_ID"),
        (42, {}, "auth must be"),
        ("", {}, "key must be"),
        (f"{KEY} x", {}, "key must be"),
        (f"{KEY}ä", {}, "key must be"),
        (f"{KEY}\r\nX-Evil: 1", {}, "key must be"),
        ("a", {}, "^auth: key must have at least 8 characters"),
        ("seven77", {}, "^auth: key must have at least 8 characters"),
        (None, {"AKOOL_API_KEY": "a"}, "^AKOOL_API_KEY: key must have at least 8 characters"),
        (None, {**PAIR, "AKOOL_CLIENT_SECRET": " a \n"}, "AKOOL_CLIENT_SECRET: client_secret must have at least 8"),
    ],
)
def test_wrong_credentials_are_reported_without_showing_them(auth, environment, message):
    """The error names what is missing or wrong, and never contains the secret."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_credentials(auth, environment)
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize("credentials", [ApiKey(KEY), ClientCredentials("id", KEY)])
def test_secrets_are_not_shown_and_do_not_pickle(credentials):
    """Neither repr nor str nor a pickle contains the secret."""
    assert KEY not in f"{credentials!r} {credentials}"
    for travel in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="secret"):
            travel(credentials)


async def test_only_long_secrets_are_masked():
    """Keys and secrets are removed from messages. A very short token, which occurs in many words, is not."""
    authenticator = TokenAuthenticator(ClientCredentials("id", KEY), token_of("a"))
    await authenticator.acquire()
    assert authenticator.redact(f"a bad pair: {KEY}") == "a bad pair: ***"
    authenticator = TokenAuthenticator(ClientCredentials("id", KEY), token_of("a-long-token"))
    await authenticator.acquire()
    assert authenticator.redact("a-long-token has ended") == "*** has ended"
    assert KeyAuthenticator(ApiKey(KEY)).redact(f"{KEY}!") == "***!"


def token_of(token):
    async def fetch(credentials):
        return token

    return fetch


class Fetch:
    """Count the requests for tokens. A request can fail, and waits until the test releases it."""

    def __init__(self):
        self.count = 0
        self.error = None
        self.let_go = asyncio.Event()

    async def __call__(self, credentials):
        self.count += 1
        await self.let_go.wait()
        if self.error is not None:
            raise self.error
        return f"token-{self.count}"


async def test_callers_share_one_fetch_and_a_cancelled_one_takes_nothing():
    """Fifty callers, of which one is cancelled, share one fetch."""
    fetch = Fetch()
    authenticator = TokenAuthenticator(ClientCredentials("id", KEY), fetch)
    callers = [asyncio.create_task(authenticator.acquire()) for _ in range(50)]
    await asyncio.sleep(0)
    callers[0].cancel()
    fetch.let_go.set()
    headers = await asyncio.gather(*callers[1:])
    assert [dict(header) for header in headers] == [{"Authorization": "Bearer token-1"}] * 49
    assert fetch.count == 1


async def test_only_the_token_that_was_used_is_dropped():
    """A late request with an old token does not drop the new one."""
    fetch = Fetch()
    fetch.let_go.set()
    authenticator = TokenAuthenticator(ClientCredentials("id", KEY), fetch)
    first = await authenticator.acquire()
    assert authenticator.renew(first)
    second = await authenticator.acquire()
    assert authenticator.renew(first)
    assert await authenticator.acquire() == second
    assert fetch.count == 2


async def test_all_waiters_get_the_error_of_a_failed_fetch():
    """Each waiter gets a separate error, and the next caller fetches again."""
    fetch = Fetch()
    fetch.error = AuthenticationError(1101, "bad pair")
    authenticator = TokenAuthenticator(ClientCredentials("id", KEY), fetch)
    callers = [asyncio.create_task(authenticator.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    fetch.let_go.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert {type(error) for error in errors} == {AuthenticationError}
    assert len({id(error) for error in errors}) == 3
    assert fetch.count == 1
    fetch.error = None
    assert dict(await authenticator.acquire()) == {"Authorization": "Bearer token-2"}
