"""What `akool fan-out` keeps of durations beside its --output."""

from akool_async import AdaptivePolling, ExponentialPolling
from akool_async.cli.batch.learned import keep_learned, learned_path, read_learned
from akool_async.polling import Finished


def test_a_later_run_begins_with_what_an_earlier_one_learned(tmp_path):
    """What one schedule learned is in the file, and the next one has it from the first job on."""
    path = learned_path(tmp_path / "out.jsonl")
    polling = AdaptivePolling()
    polling.learn(Finished("upscale", 20.0, 22.0, duration=21.0))
    keep_learned(path, polling)
    assert path.name == "out.jsonl.learned"
    assert read_learned(path).to_json() == polling.to_json()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_run_that_learned_nothing_leaves_no_file(tmp_path):
    """Nothing is written for a schedule that has seen no end, or that cannot learn."""
    path = learned_path(tmp_path / "out.jsonl")
    keep_learned(path, AdaptivePolling())
    keep_learned(path, ExponentialPolling())
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_other_making_is_no_obstacle(tmp_path):
    """If the file is missing or cannot be read, the run learns for itself."""
    path = learned_path(tmp_path / "out.jsonl")
    assert read_learned(path) is None
    for content in (b"", b"\xff", b"{}", b"[" * 2_000_000):
        path.write_bytes(content)
        assert read_learned(path) is None


def test_without_an_output_nothing_is_kept():
    """Lines on stdout have no file beside them."""
    assert learned_path(None) is None
    assert read_learned(None) is None
    keep_learned(None, AdaptivePolling())
