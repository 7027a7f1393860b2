"""What waits for another try takes no place from what need not wait."""

from lfmri_node.node.jobs.job import Stage

MANY = 17  # more than the engine lets be under way at once in one queue


def with_a_long_wait(node) -> None:
    text = node.config.read_text()
    node.config.write_text(
        text.replace("base_s = 0.3", "base_s = 3600").replace("cap_s = 0.5", "cap_s = 3600")
    )


def test_many_scans_that_a_pacs_does_not_take_now_keep_no_place_from_one_that_it_takes(
    node, pacs, make_scan
) -> None:
    """Each of them waits for an hour; the destination answers, so that it is not left alone."""
    refused: set[str] = set()
    pacs.before_answer = lambda uid: refused.add(uid) or 0xA700
    with_a_long_wait(node)
    node.start()
    node.send(make_scan("many.h5", n_slices=1, size=32, contrasts=MANY))
    node.wait_for(lambda jobs: sum(job.failure is not None for job in jobs) == MANY)
    pacs.before_answer = lambda uid: 0xA700 if uid in refused else 0x0000
    node.send(make_scan("good.h5", seed=1, n_slices=1, size=32))
    jobs = node.wait_for(lambda jobs: any(job.stage is Stage.SENT for job in jobs))
    assert sum(job.stage is Stage.ENCODED for job in jobs) == MANY
    assert {job.attempts for job in jobs if job.stage is Stage.ENCODED} == {1}


def test_a_wait_that_a_restart_cuts_short_is_tried_at_once(node, pacs, make_scan) -> None:
    pacs.before_answer = lambda _uid: 0xA700
    with_a_long_wait(node)
    node.start()
    node.send(make_scan(n_slices=1))
    node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].failure is not None)
    node.stop()
    pacs.before_answer = lambda _uid: 0x0000
    node.start()
    node.wait_finished()
