"""A device whose memory ran out: the log says so, and the job's row keeps it."""

NOTE = "cuda (X) ran out of memory with 4 slices at a time; 2 from there on"


def test_memory_that_ran_out_is_logged_and_stays_on_record(node, make_scan):
    node.holds.mkdir()
    (node.holds / "reconstruct.device-notes").write_text(NOTE)
    node.start()
    node.send(make_scan())
    (job,) = node.wait_finished()
    node.wait_line(f'warning device.out_of_memory job={job.name} what="{NOTE}"')
    assert job.summary["device_notes"] == [NOTE]
    assert job.summary["device"] == "cpu"
