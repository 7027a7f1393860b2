"""BART as a process, with its files: the evaluation's own, and whether it is there."""

from __future__ import annotations

from lfmri_node.recon.evaluate.bart import bart, is_installed, write

__all__ = ("bart", "is_installed", "write")
