"""What `run --cluster` says while Spark starts and decides."""

from __future__ import annotations

from shroff.app.live.worker_runs import ClusterProgress


def test_it_says_what_is_waited_for_and_then_how_far_it_is():
    said, now, end = list[str](), [0.0], [7]
    progress = ClusterProgress(lambda: end[0], said.append, lambda: now[0])
    for now_s in range(100):
        now[0] = float(now_s)
        end[0] = 7 if now_s < 75 else 7 + now_s
        progress.look()

    assert said == [
        "Spark has started; decisions continue after sequence number 7",
        "waiting for the first decisions for 10 s: Spark's workers start and load the project",
        "waiting for the first decisions for 30 s: Spark's workers start and load the project",
        "waiting for the first decisions for 70 s: Spark's workers start and load the project",
    ]
    now[0] = 150.0
    progress.look()
    assert said[-1] == "decided up to sequence number 106"
