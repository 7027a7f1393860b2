"""Examples at the end of each command's help; a test parses every one."""

from __future__ import annotations

EXAMPLES = {
    "": (
        "lfmri-node demo",
        "lfmri-node doctor --config config.toml",
        "lfmri-node serve --config config.toml",
        "lfmri-node status --watch",
        "lfmri-node COMMAND --help",
    ),
    "serve": ("lfmri-node serve", "lfmri-node serve --config /etc/lfmri-node/config.toml"),
    "reload": ("lfmri-node reload --config /etc/lfmri-node/config.toml", "lfmri-node reload --json"),
    "explain": (
        "lfmri-node explain scan.h5",
        "lfmri-node explain scan.h5 --calling-ae GATEWAY --json",
    ),
    "reprocess": (
        "lfmri-node reprocess --job 3f2a9c01d4e7 --method cg-sense --dry-run",
        "lfmri-node reprocess --since 2026-11-01 --weights brain.safetensors",
    ),
    "backup": ("lfmri-node backup folder-of-today", "lfmri-node backup folder-of-today --json"),
    "worker": (
        "lfmri-node worker --name w2",
        "lfmri-node worker --name w2 --config /etc/lfmri-node/config.toml",
    ),
    "send": (
        "lfmri-node send scan.h5 --to LFMRI@node.example.org:11112",
        "lfmri-node send scan.h5 --to LFMRI@10.20.30.40:11112 --identity who.toml",
    ),
    "gateway": (
        "lfmri-node gateway watch folder --to LFMRI@node.example.org:11112",
        "lfmri-node gateway watch folder --to LFMRI@10.20.30.40:11112 --once",
    ),
    "reconstruct": (
        "lfmri-node reconstruct scan.h5 --out folder",
        "lfmri-node reconstruct scan.h5 --out folder --method cg-sense --json",
    ),
    "orient": (
        "lfmri-node orient scan.h5 --out pictures",
        "lfmri-node orient scan.h5 --like dicom-folder --calling-ae GATEWAY",
    ),
    "convert": (
        "lfmri-node convert brain.npz --out brain.h5",
        "lfmri-node convert brain.npz --out brain.h5 --accel 8 --seed 1",
    ),
    "status": (
        "lfmri-node status",
        "lfmri-node status 3f2a9c01d4e7",
        "lfmri-node status --watch --every 5",
        "lfmri-node status --json --last 0",
    ),
    "retry": ("lfmri-node retry", "lfmri-node retry 3f2a9c01d4e7"),
    "accept": ("lfmri-node accept", "lfmri-node accept 3f2a9c01d4e7"),
    "assign": ("lfmri-node assign", "lfmri-node assign 3f2a9c01d4e7 --identity who.toml"),
    "console": ("lfmri-node console --config config.toml",),
    "users": (
        "lfmri-node users",
        "lfmri-node users anna --role operator",
        "lfmri-node users anna --remove",
    ),
    "purge": ("lfmri-node purge --dry-run", "lfmri-node purge --json"),
    "doctor": ("lfmri-node doctor --config config.toml", "lfmri-node doctor --json"),
    "demo": ("lfmri-node demo", "lfmri-node demo --input brain.h5 --pacs embedded --out demo-out"),
    "viewer": ("lfmri-node viewer folder", "lfmri-node viewer demo-out/node/data/objects --browser"),
    "completion": (
        "source <(lfmri-node completion bash)",
        "source <(lfmri-node completion zsh)",
    ),
}


def examples(command: str) -> str:
    """The examples of one command, or of the program where it is "", a paragraph each."""
    return "\n\n".join(["Examples:", *EXAMPLES[command]])
