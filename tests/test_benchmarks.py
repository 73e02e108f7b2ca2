"""Small runs of benchmarks, since a benchmark of presses that fail measures nothing."""

from benchmarks._job_server import job_server
from benchmarks.fan_out import measure_here


async def test_the_presses_of_the_fan_out_benchmark_succeed():
    """The job server gives no job the id of a source image, which would be an unknown outcome."""
    async with job_server() as server:
        measured = await measure_here(f"{server.base_url}/akool", 5, 20)
    assert measured.finished == 20
