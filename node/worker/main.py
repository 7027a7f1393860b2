"""The worker process: reads requests from stdin, one JSON object a line, answers on stdout.

It leaves at once when stdin ends, because then its parent is gone and another worker may take the
same job up. Anything that a library prints on stdout goes to stderr instead.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.node import logs
from lfmri_node.node.errors import StageFailed
from lfmri_node.node.worker.memory import is_out_of_memory, limit_memory
from lfmri_node.node.worker.stages import Pipeline
from lfmri_node.node.worker.task import Task
from lfmri_node.recon.errors import DeviceMissing, ReconError, UnsupportedAcquisition
from lfmri_node.recon.settings import Device, Precision

Operation = Callable[[Task, Callable[[int, int], None]], Mapping[str, object]]


def main(arguments: list[str] | None = None) -> None:
    """Serve requests until stdin ends. Arguments: memory limit in GB (0: none), threads (0: all), device,
    precision."""
    memory_limit_gb, threads, device, precision = arguments or sys.argv[1:]
    answers = own_stdout()
    logs.silence_texts(sys.stderr)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if float(memory_limit_gb) > 0:
        limit_memory(float(memory_limit_gb))
    pipeline = Pipeline(threads=int(threads), device=Device(device), precision=Precision(precision))
    serve(
        sys.stdin,
        answers,
        {
            "decode": pipeline.decode,
            "calibrate": pipeline.calibrate,
            "reconstruct": pipeline.reconstruct,
            "encode": pipeline.encode,
        },
        prepare=pipeline.warm_up,
    )


def serve(
    requests: TextIO,
    answers: TextIO,
    operations: Mapping[str, Operation],
    *,
    prepare: Callable[[], str] = lambda: "",
) -> None:
    """Answer every request in turn; a request may be one of ``operations``.

    ``prepare`` runs first, when the end of ``requests`` is already watched for; then ``ready`` is said, and
    what it says of the precision.
    """
    inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(requests, inbox), daemon=True)
    reader.start()
    _write(answers, {"ready": True, "precision": prepare()})
    while True:
        request = json.loads(inbox.get())
        answer = _answer(request, operations[request["operation"]], answers)
        _write(answers, {"id": request["id"], **answer})


def _read(requests: TextIO, inbox: queue.SimpleQueue[str]) -> None:
    for line in requests:
        inbox.put(line)
    os._exit(0)  # the parent is gone: whatever is being computed, nobody waits for it


def _answer(request: Mapping[str, Any], operation: Operation, answers: TextIO) -> dict[str, object]:
    def progress(done: int, total: int) -> None:
        _write(answers, {"id": request["id"], "progress": [done, total]})

    try:
        return {"result": dict(operation(Task.from_json(request["task"]), progress))}
    except (ReconError, DicomIoError) as error:
        return _error(
            error.code,
            error.message,
            error.hint,
            refused=isinstance(error, UnsupportedAcquisition),
            transient=isinstance(error, DeviceMissing),
        )
    except StageFailed as error:
        return _error(error.code, error.message, error.hint, refused=error.refused, transient=error.transient)
    except FileNotFoundError:
        return _error(
            "LF-JOB-018",
            "a file that the job needs is not there any more",
            "somebody removed it from node.data_dir; send the measurement again",
        )
    except (MemoryError, RuntimeError, OSError) as error:
        if is_out_of_memory(error):
            return _error(
                "LF-JOB-013",
                "the reconstruction needs more memory than it may use",
                "raise recon.memory_limit_gb, or lower recon.n_virtual_coils",
            )
        if not isinstance(error, OSError):
            raise
        return _error(
            "LF-JOB-014",
            f"a file could not be read or written ({os.strerror(error.errno or 0)})",
            "make room on the disk of node.data_dir; the job goes on by itself",
            transient=True,
        )


def _error(
    code: str, message: str, hint: str, *, refused: bool = False, transient: bool = False
) -> dict[str, object]:
    return {
        "error": {"code": code, "message": message, "hint": hint, "refused": refused, "transient": transient}
    }


def _write(answers: TextIO, answer: Mapping[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def own_stdout() -> TextIO:
    """A stream on the original stdout; file descriptor 1 itself goes to stderr from here on."""
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


if __name__ == "__main__":
    main()
