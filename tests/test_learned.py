"""Tests of the file in which `akool fan-out` saves learned durations beside its --output."""

from akool_async import AdaptivePolling, ExponentialPolling
from akool_async.cli.batch.learned import keep_learned, learned_path, read_learned
from akool_async.polling import Finished


def test_a_later_run_begins_with_what_an_earlier_one_learned(tmp_path):
    """The file holds what one run learned, and the next run starts from it."""
    path = learned_path(tmp_path / "out.jsonl")
    polling = AdaptivePolling()
    polling.learn(Finished("upscale", 20.0, 22.0, duration=21.0))
    keep_learned(path, polling)
    assert path.name == "out.jsonl.learned"
    assert read_learned(path).to_json() == polling.to_json()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_run_that_learned_nothing_leaves_no_file(tmp_path):
    """A schedule that has learned nothing, or cannot learn, writes no file."""
    path = learned_path(tmp_path / "out.jsonl")
    keep_learned(path, AdaptivePolling())
    keep_learned(path, ExponentialPolling())
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_file_is_ignored(tmp_path):
    """If the file is missing, has another form or is too large, the run starts without it."""
    path = learned_path(tmp_path / "out.jsonl")
    assert read_learned(path) is None
    for content in (b"", b"\xff", b"{}", b"[" * 2_000_000):
        path.write_bytes(content)
        assert read_learned(path) is None


def test_without_an_output_nothing_is_saved():
    """A run that writes to stdout saves nothing."""
    assert learned_path(None) is None
    assert read_learned(None) is None
    keep_learned(None, AdaptivePolling())
