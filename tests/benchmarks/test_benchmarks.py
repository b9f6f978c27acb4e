"""Every benchmark task beside its peer in one run (``pytest -m benchmarks``); nothing timed is asserted."""

import json

import pytest

from matterscape.benchmarks import TASKS, run

pytestmark = pytest.mark.benchmarks


@pytest.mark.parametrize("name", TASKS)
def test_beside_the_peer(name, benchmark, capsys):
    (row,) = run([name])
    ours, _ = TASKS[name].prepare()
    benchmark.extra_info.update(row)
    benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    with capsys.disabled():
        print("\n" + json.dumps(row))
    assert row["ours_s"] > 0
