"""The device that computes, and how many slices it takes at a time.

Slices of a scan are independent. On the processor each of a few threads has a slice of its own, since the
operations on one slice are too small for all cores: one reads while another one computes. An accelerator
gets as many side by side as its memory holds: the first one alone tells what a slice needs. Where memory
runs out all the same, half as many are tried; where not even one slice fits, the processor computes the rest
of the scan. What happened is kept for the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

import torch

CPU = torch.device("cpu")
LARGEST_BATCH = 16
"""Slices at a time at most: the measured data of so many are in the memory of the host too."""
MOST_THREADS = 4
"""Slices that the processor computes beside each other: more would need more memory than they save time."""
_FILL = 0.8
"""Share of the free memory that is used: the rest is for fragmentation and for the neighbours."""

Item = TypeVar("Item")
Done = TypeVar("Done")


class Compute:
    """What one scan is computed on.

    Parameters
    ----------
    device
        Where the tensors of the scan are.
    at_once
        Slices in a batch at first. One on the processor: more do not fit its cache, and the images of a
        batch of one are the same whatever is beside them.
    name
        Of the device, for a reader.
    """

    def __init__(self, device: torch.device = CPU, *, at_once: int = 1, name: str | None = None) -> None:
        self.device = device
        self.notes: list[str] = []
        self._at_once = at_once
        self._name = name or str(device)

    def describe(self) -> str:
        """What computed, in a few words."""
        return self._name

    def over(
        self, slices: Iterable[int], work: Callable[[Sequence[int], torch.device], list[Done]]
    ) -> Iterator[Done]:
        """``work`` on all of ``slices``, a batch at a time; yields its answers, one a slice, in order.

        It is called in several threads at once where the processor takes slices one by one.

        Raises
        ------
        torch.OutOfMemoryError
            Not even the processor has the memory for one slice.
        """
        rest = list(slices)
        if self.device == CPU and self._at_once == 1:
            with exact():
                yield from side_by_side(lambda s: work([s], CPU)[0], rest)
            return
        while rest:
            now = rest[: self._at_once]
            done = self._tried(partial(self._measured, now, work), len(now))
            if done is not None:
                rest = rest[len(now) :]
                yield from done
        self._give_back()

    def once(self, work: Callable[[torch.device], Done]) -> Done:
        """``work``, which takes a slice at a time, on the device, or on the processor if need be."""
        while (done := self._tried(lambda: work(self.device), 1)) is None:
            pass
        return done

    def _tried(self, attempt: Callable[[], Done], n_slices: int) -> Done | None:
        """None where memory ran out and something smaller can be tried."""
        try:
            with exact():
                return attempt()
        except torch.OutOfMemoryError:
            if self.device == CPU and n_slices == 1:
                raise
        self._take_less(n_slices)  # outside the handler, so that the tensors of the attempt are gone
        return None

    def _measured(
        self, now: Sequence[int], work: Callable[[Sequence[int], torch.device], list[Done]]
    ) -> list[Done]:
        """``work``; the first slice on an accelerator, which is alone, tells how many fit."""
        if self.device.type != "cuda" or len(now) > 1 or self.notes:
            return work(now, self.device)
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        done = work(now, self.device)
        need = torch.cuda.max_memory_allocated(self.device) - before
        torch.cuda.empty_cache()
        self._at_once = fitting(torch.cuda.mem_get_info(self.device)[0], need)
        return done

    def _take_less(self, tried: int) -> None:
        self._give_back()
        if tried > 1:
            self._at_once = tried // 2
            self.notes.append(
                f"{self._name} ran out of memory with {tried} slices at a time; {self._at_once} from there on"
            )
        else:
            self.notes.append(f"{self._name} ran out of memory with one slice; the processor from there on")
            self.device, self._at_once, self._name = CPU, 1, f"cpu, after {self._name}"

    def _give_back(self) -> None:
        """Let go of memory that the allocator keeps: other processes may compute on the same device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def side_by_side(work: Callable[[Item], Done], items: Sequence[Item]) -> Iterator[Done]:
    """``work`` on all ``items`` on the processor, a few at a time, its answers in order.

    Torch's threads are shared out: with as many items at a time as threads each has one, and its result does
    not depend on how many there are.
    """
    n_threads = torch.get_num_threads()
    n = min(n_threads, len(items), MOST_THREADS)
    if n < 2:
        yield from map(work, items)
        return
    share = partial(torch.set_num_threads, n_threads // n)
    with ThreadPoolExecutor(n, thread_name_prefix="slices", initializer=share) as pool:
        yield from pool.map(work, items)


def fitting(free_bytes: int, bytes_a_slice: int) -> int:
    """How many slices fit into the free memory, one at least and `LARGEST_BATCH` at most."""
    return max(1, min(LARGEST_BATCH, int(_FILL * free_bytes / max(bytes_a_slice, 1))))


def exact() -> AbstractContextManager[None]:
    """Convolutions of an accelerator in full float32, and the same bits each time: no TF32, no benchmarks."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
