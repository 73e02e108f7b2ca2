"""Stores of older and newer formats, and outcomes that are read as they were written."""

from contextlib import aclosing
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akool_async import (
    Button,
    ButtonPress,
    ConfigurationError,
    ImageResult,
    ImageStatus,
    Operation,
    Outcome,
    OutcomeUnknownError,
)
from akool_async.durable._job_items import JobItem
from akool_async.durable._outcome_codec import decode_outcome, encode_outcome
from tests.support.durable_faults import format_of, load_store, record_half_an_emoji, set_format
from tests.support.workers import open_jobs

SOURCES = (
    *("SOURCE_OF_UNKNOWN", "SOURCE_OF_DONE", "SOURCE_OF_REFUSED"),
    *("SOURCE_OF_RUNNING", "SOURCE_IN_DOUBT", "SOURCE_OF_WAITING"),
)
"""Names of source images in the recorded stores."""


async def read_ended(jobs, number):
    """Return the first ``number`` outcomes while other jobs are open."""
    async with aclosing(jobs.outcomes()) as outcomes:
        return [await anext(outcomes) for _ in range(number)]


@pytest.mark.parametrize("older", [1, 2, 3, 4])
async def test_a_store_of_an_older_format_is_upgraded(emulator, empty_store, older):
    """This version carries out jobs of older versions: it makes waiting presses, follows running operations, and asks
    AKOOL about presses in doubt. Prices are read from the results; a press without a result counts by estimate.
    """
    store = empty_store
    names = {name: emulator.add_image() for name in SOURCES}
    async with emulator.session() as akool:
        running = (await akool.create_by_button(names["SOURCE_OF_RUNNING"], "V2")).id
        lost = (await akool.create_by_button(names["SOURCE_OF_UNKNOWN"], "U1")).id
    load_store(store, older, {**names, "RUNNING_OPERATION": running, "LOST_OPERATION": lost})
    record_half_an_emoji(store)
    async with open_jobs(emulator, store, account="acme") as jobs:
        counts = await jobs.status()
        assert (counts.open, counts.done, counts.failed, counts.unknown) == (4, 1, 1, 1)
        assert (counts.credits_charged, counts.credits_lost) == (5, 2)
        assert [outcome.press.image_id for outcome in await read_ended(jobs, 3)] == [
            names[name] for name in ("SOURCE_OF_UNKNOWN", "SOURCE_OF_DONE", "SOURCE_OF_REFUSED")
        ]
        await jobs.run()
        counts = await jobs.status()
        assert (counts.open, counts.done, counts.unknown) == (0, 5, 1)
        assert (await jobs.job((names["SOURCE_OF_RUNNING"], "V2"))).operation_id == running
        await jobs.resolve((names["SOURCE_OF_UNKNOWN"], "U1"), operation_id=lost)
        await jobs.run()
        assert (await jobs.status()).done == 6
    assert emulator.ledger.pressed_twice() == []
    assert format_of(store) == 5
    async with open_jobs(emulator, store, account="acme") as jobs:
        assert (await jobs.status()).done == 6


async def test_a_store_of_a_newer_format_is_refused(emulator, tmp_path):
    """An older version reports that the store is newer, and does not change it."""
    store = f"sqlite:///{tmp_path}/a.db"
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([(emulator.add_image(), "U1")])
    set_format(store, 99)
    with pytest.raises(
        ConfigurationError, match=r"has format 99, and this version .* knows up to 5: install a newer version"
    ):
        await open_jobs(emulator, store).__aenter__()


def store_and_read(outcome):
    """Write an outcome as the bytes that a database stores, and read it again."""
    return decode_outcome(JobItem(outcome.press), encode_outcome(outcome).encode().decode())


TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)
"""Texts that include halves of emoji: JSON can contain them, so AKOOL's replies could too."""
IMAGES = st.builds(
    ImageResult,
    id=st.text("0123456789abcdef", min_size=24, max_size=24),
    status=st.sampled_from([*ImageStatus, 9, None]),
    image=st.none() | TEXT,
    upscaled_urls=st.lists(TEXT, max_size=4).map(tuple),
    used_buttons=st.lists(TEXT, max_size=3).map(tuple),
    created_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    deduction_credit=st.none() | st.floats(0, 1e6),
    error_reasons=st.lists(TEXT, max_size=2).map(tuple),
    prompt=st.none() | TEXT,
    raw=st.dictionaries(TEXT, st.none() | TEXT | st.integers() | st.lists(TEXT)),
)


@given(image=IMAGES, button=st.sampled_from(list(Button)))
def test_an_outcome_is_read_as_it_was_written(image, button):
    """Everything that AKOOL sent about an image is equal when it is read again, including the raw mapping."""
    press = ButtonPress("0" * 24, button)
    outcome = store_and_read(Outcome(press, Operation(image.id), image))
    assert outcome.result == image
    assert outcome.result.raw == image.raw
    assert type(outcome.result.status) is type(image.status)
    assert outcome.operation.press == press


@given(charged=st.sampled_from([True, None]), message=TEXT)
def test_an_error_is_read_as_it_was_written(charged, message):
    """An error keeps its class, its text and its fields."""
    press = ButtonPress("0" * 24, "U1")
    error = OutcomeUnknownError(message, charged=charged).about(press=press)
    read = store_and_read(Outcome(press, error=error)).error
    assert (type(read), str(read), read.charged, read.press) == (type(error), str(error), charged, press)
