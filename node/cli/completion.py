"""``lfmri-node completion``: what a shell offers at the tab key, written from the commands themselves."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

_BASH = """\
_lfmri_node() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= config= words= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --config | -c) config=${COMP_WORDS[i + 1]} ;;
            -*) ;;
            *) command=${command:-${COMP_WORDS[i]}} ;;
        esac
    done
    case "$command $before" in
@VALUES@
        *)
            case "$command ${word:0:1}" in
@COMMANDS@
            esac
            ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}

_lfmri_node_jobs() { # program, configuration
    "$1" status --json ${2:+--config "$2"} 2> /dev/null | sed -n 's/^ *"job": "\\(.\\{12\\}\\).*/\\1/p'
}

complete -o default -F _lfmri_node lfmri-node
"""
_ZSH = """\
autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit

"""
_JOBS = '$(_lfmri_node_jobs "${COMP_WORDS[0]}" "$config")'


def completion_script(app: typer.Typer, shell: str) -> str:
    """A script for ``bash`` or ``zsh``: commands, options, their choices, names of jobs.

    Where a path, a number or a text is wanted the list stays empty, and the shell offers files.
    """
    commands: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    callbacks = [info.callback for info in app.registered_commands if info.callback is not None]
    hints = {callback.__name__: get_type_hints(callback) for callback in callbacks}
    values: list[str] = []
    offers = [_offer("' '*", [*sorted(commands), "--help", "--version"])]
    for name, command in sorted(commands.items()):
        options = [param for param in command.params if param.param_type_name == "option"]
        for option in options:
            if not option.is_flag:
                spelt = " | ".join(f"'{name} {text}'" for text in option.opts)
                values.append(_offer(spelt, _choices(hints[name][option.name]), indent=8))
        texts = [*(text for option in options for text in option.opts), "--help"]
        arguments = [param.name for param in command.params if param.param_type_name == "argument"]
        offers.append(_offer(f"'{name} -'", texts))
        offers.append(_offer(f"'{name} '*", _first(arguments, hints[name]) if arguments else texts))
    script = _BASH.replace("@VALUES@", "\n".join(values)).replace("@COMMANDS@", "\n".join(offers))
    return _ZSH + script if shell == "zsh" else script


def _offer(pattern: str, words: list[str], *, indent: int = 16) -> str:
    return f'{" " * indent}{pattern}) words="{" ".join(words)}" ;;'


def _first(arguments: list[str], hints: Mapping[str, object]) -> list[str]:
    """What the first argument of a command can be."""
    return [_JOBS] if arguments[0] == "job" else _choices(hints[arguments[0]])


def _choices(hint: object) -> list[str]:
    """The texts that an annotation allows; none where they cannot be listed."""
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    return [text for part in get_args(hint) if part is not NoneType for text in _choices(part)]
