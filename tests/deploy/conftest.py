"""What the files of deploy/ are compared with: the commands of this version, and the linter of YAML."""

from collections.abc import Callable, Sequence

import pytest
from typer.main import get_command

from lfmri_node.node.cli.main import app


@pytest.fixture(scope="session")
def require_command() -> Callable[[Sequence[str]], None]:
    """``require_command(words)``: a command of `lfmri-node` of that name takes those options."""
    known = get_command(app).commands

    def require(words: Sequence[str]) -> None:
        name, *rest = words
        assert name in known, name
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options, words

    return require
