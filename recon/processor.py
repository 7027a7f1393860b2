"""What the processor says of itself: read from the kernel, so that asking needs no torch."""

from __future__ import annotations

from pathlib import Path

PROCESSOR = Path("/proc/cpuinfo")
_UNITS = frozenset({"amx_bf16", "avx512_bf16"})


def bfloat16_units(processor: Path = PROCESSOR) -> tuple[str, ...]:
    """Flags that mean products in bfloat16 in hardware, sorted; none where the kernel does not say."""
    try:
        text = processor.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ()
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return tuple(sorted(_UNITS.intersection(flags.split())))
