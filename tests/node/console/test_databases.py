"""The console shows jobs and puts them back to work, wherever they are recorded."""

from lfmri_node.node.jobs.job import Stage
from lfmri_node.recon.mrd.file import sha256_of


def test_a_job_is_shown_and_retried_by_its_button(any_node, pacs, make_scan, start_console) -> None:
    node, scan = any_node, make_scan()
    node.configure("[console]\nport = 0\n")
    node.holds.mkdir()
    (node.holds / "reconstruct.dies").write_text(sha256_of(scan))
    node.start()
    node.send(scan)
    jobs = node.wait_for(lambda found: any(job.stage is Stage.QUARANTINED for job in found))
    (job,) = [job for job in jobs if not job.is_measurement]
    console = start_console(node.config)
    for page in ("/", "/quarantine", "/history", "/storage", f"/jobs/{job.name}"):
        answer = console.ask(page)
        assert answer.status == 200
    assert "LF-JOB-015" in console.ask(f"/jobs/{job.name}").text
    (node.holds / "reconstruct.dies").unlink()
    assert console.submit(f"/jobs/{job.name}/retry", page=f"/jobs/{job.name}").status in (302, 303)
    (job,) = node.wait_finished()
    assert job.stage is Stage.SENT
    assert "LF-JOB-015" not in console.ask("/quarantine").text
