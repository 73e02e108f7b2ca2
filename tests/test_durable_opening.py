"""Opening a store: its URL, concurrent opening, and creating it or not."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import portalocker
import pytest
from sqlalchemy import make_url

from akool_async import ConfigurationError
from akool_async.durable import DurableFanOut, StoreError, WorkerTiming
from akool_async.durable._store_url import StoreUrl
from tests.support.workers import open_jobs


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        ("akool.db", "store must be a URL such as"),
        ("mysql://host/akool", "store must be a URL such as"),
        ("postgresql://user:p@ss@host/akool", "with %40 for each @"),
        ("sqlite://", "store must name a file that outlives the process"),
        ("sqlite:///:memory:", "store must name a file that outlives the process"),
        ("sqlite:///a.db?timeout=5", "store must name a file that outlives the process"),
        ("sqlite:////nowhere/akool.db", "the folder /nowhere does not exist"),
        (None, "store must be a URL such as"),
    ],
)
def test_a_bad_store_is_refused_before_anything_is_done(store, reason):
    """A wrong URL is refused, with an example or the reason in the error."""
    with pytest.raises(ConfigurationError, match=reason):
        DurableFanOut("sk-test-key", store)


async def test_a_store_that_cannot_be_opened_is_named_without_its_password(tmp_path):
    """A server that cannot be reached, a file that is not a database, and a folder."""
    (tmp_path / "text").write_text("not a database, but long enough to be read as one" * 20)
    for store in (
        "postgresql://user:secret@127.0.0.1:9/akool",
        "postgresql://user@127.0.0.1:9/akool?password=secret",
        f"sqlite:///{tmp_path}/text",
        f"sqlite:///{tmp_path}",
    ):
        with pytest.raises((ConfigurationError, StoreError), match="cannot be used") as caught:
            await DurableFanOut("sk-test-key", store, worker_timing=WorkerTiming(database_timeout=0.5)).__aenter__()
        assert "secret" not in str(caught.value)


def test_a_link_to_a_store_is_that_store(tmp_path):
    """Lock files are beside the file that SQLite opens, even if the URL names a symbolic link."""
    (tmp_path / "b.db").symlink_to(tmp_path / "a.db")
    assert StoreUrl.read(f"sqlite:///{tmp_path}/b.db") == StoreUrl.read(f"sqlite:///{tmp_path}/a.db")


def test_the_parameters_of_a_url_override_ours():
    """Our timeouts for a silent server apply only if the URL sets none, for every kind of connection."""
    store = StoreUrl.read("postgresql://user@host/akool?connect_timeout=3&sslmode=require")
    for address in (store.address, store.driver_address):
        query = make_url(address).query
        assert (query["connect_timeout"], query["sslmode"], query["keepalives_idle"]) == ("3", "require", "5")
    assert "keepalives" not in str(store)


async def test_many_can_open_a_new_store_concurrently(emulator, empty_store):
    """Eight tasks create the tables of one store and submit the same press. All succeed, and one records it as new."""

    async def submit():
        async with open_jobs(emulator, empty_store) as jobs:
            return await jobs.submit([("0" * 24, "U1")])

    assert sorted(await asyncio.gather(*(submit() for _ in range(8)))) == [0] * 7 + [1]


async def test_an_sqlite_store_is_opened_by_one_at_a_time(emulator, tmp_path):
    """Entering waits while another process creates the tables: DBOS cannot migrate an SQLite file concurrently."""
    async with AsyncExitStack() as stack:
        with portalocker.Lock(tmp_path / "a.db.lock"):
            entering = asyncio.create_task(stack.enter_async_context(open_jobs(emulator, f"sqlite:///{tmp_path}/a.db")))
            await asyncio.wait({entering}, timeout=1)
            assert not entering.done()
        assert (await (await entering).status()).open == 0


async def test_a_store_that_must_exist_is_not_created(emulator, empty_store, tmp_path):
    """With create=False a missing store is refused and not created, and an existing one is opened."""
    with pytest.raises(ConfigurationError, match="does not exist: nothing was recorded there"):
        await open_jobs(emulator, empty_store, create=False).__aenter__()
    assert not list(tmp_path.glob("*.db*"))
    async with open_jobs(emulator, empty_store) as jobs:
        await jobs.submit([("0" * 24, "U1")])
    async with open_jobs(emulator, empty_store, create=False) as jobs:
        assert (await jobs.status()).waiting == 1


async def test_bad_arguments_are_refused(emulator, tmp_path):
    """Bad arguments of each method, and use before entering, raise errors that name the argument."""
    store = f"sqlite:///{tmp_path}/a.db"
    with pytest.raises(ValueError, match="http cannot be given"):
        open_jobs(emulator, store, http=object())
    for wrong in ("a:b", "", "a" * 65, 5):
        with pytest.raises(ValueError, match="account must be a name of at most 64 ASCII letters"):
            open_jobs(emulator, store, account=wrong)
    with pytest.raises(ValueError, match="max_concurrent_upscales"):
        open_jobs(emulator, store, max_concurrent_upscales=0)
    with pytest.raises(ConfigurationError, match="within its block only"):
        await open_jobs(emulator, store).submit([])
    async with open_jobs(emulator, store) as jobs:
        for wrong in (None, 5, "abc"):
            with pytest.raises(ValueError, match="items must be an iterable"):
                await jobs.submit(wrong)
        for wrong in ("abc", ("id",), 5, {"id": "U1"}):
            with pytest.raises(ValueError, match=r"items\[0\] must be a Prompt, a ButtonPress or a pair"):
                await jobs.submit([wrong])
        for wrong in (("id",), 5, {"id": "U1"}, ""):
            with pytest.raises(ValueError, match="must be a"):
                await jobs.job(wrong)
        for wrong in (timedelta(days=-1), timedelta.max, 5, None):
            with pytest.raises(ValueError, match="older_than must be a timedelta"):
                await jobs.prune(wrong)
        with pytest.raises(ValueError, match="states must be among 'open', 'done', 'failed', 'unknown', not 'bogus'"):
            await anext(jobs.jobs("bogus"))
        for wrong in (None, 5, "abc"):
            with pytest.raises(ValueError, match="items must be an iterable"):
                await jobs.find(wrong)
        with pytest.raises(ConfigurationError, match="is entered already"):
            await jobs.__aenter__()
        assert (await jobs.status()).open == 0
