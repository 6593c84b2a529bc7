"""The text of `brum completion`: one function in the common language of bash and zsh finds what can be typed, and a
short one for each shell offers it.
"""

import argparse
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from brummer.cli.command_table import BY_NAME
from brummer.cli.dispatch import module_of, parser_of
from brummer.contract.tools import INSTANCE_TOOLS

DIRECTORIES: Final = ":directories"
"""In place of candidates. No name begins so: a colon begins no word that a shell completes."""

_COMMON: Final = """\
# What can stand in place of a word. $1: the program, $2: the word so far, then the words before it.
_brum_candidates() {
    local program=$1 current=$2 command= directory=. previous= word=
    command -v "$program" >/dev/null 2>&1 || program=brum
    shift 2
    while [ $# -gt 0 ]; do
        word=$1
        shift
        case $previous in
        -d | --dir) directory=$word previous= ;;
        @VALUED@) previous= ;;
        *)
            previous=$word
            case $word in
            -*) ;;
            *) [ -n "$command" ] || command=$word ;;
            esac
            ;;
        esac
    done
    case $command in
    "" | @COMMANDS_PATTERN@) ;;
    *) command=@SCRIPT@ ;;
    esac
    case $command:$previous in
    *:-d | *:--dir) echo @DIRECTORIES@ && return ;;
    *:--name) "$program" completion --names instances 2>/dev/null && return ;;
@CHOICES@
    *:@VALUED_PATTERN@) return ;;
    esac
    case $command:$current in
@OPTIONS@
    esac
    case $command in
@ARGUMENTS@
    esac
}
"""

_BASH: Final = """\
_brum() {
    local line=${COMP_LINE:0:COMP_POINT} found word prefix=
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local current=${words[${#words[@]} - 1]}
    found=$(_brum_candidates "$1" "$current" "${words[@]:1:${#words[@]}-2}")
    COMPREPLY=()
    if [[ $found == @DIRECTORIES@ ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -d -- "$current")
        return
    fi
    # Readline replaces only what follows the last colon: web:dev is three words for it.
    [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] && prefix=${current%"${current##*:}"}
    while IFS= read -r word; do
        [[ -n $word && $word == "$current"* ]] && COMPREPLY+=("$(printf %q "${word#"$prefix"}")")
    done <<<"$found"
}
complete -F _brum brum
"""

_ZSH: Final = """\
_brum() {
    local found=$(_brum_candidates "${words[1]}" "${words[CURRENT]}" "${(@)words[2,CURRENT-1]}")
    if [[ $found == @DIRECTORIES@ ]]; then
        _files -/
    elif [[ -n $found ]]; then
        compadd -- "${(@f)found}"
    fi
}
compdef _brum brum
"""


def script_for(shell: str) -> str:
    """What the shell (bash or zsh) has to evaluate."""
    parsers = {"": parser_of(None, module_of(None))}
    parsers |= {name: parser_of(command, module_of(command)) for name, command in BY_NAME.items()}
    valued = sorted({option for parser in parsers.values() for option in _with_values(parser)} - {"-d", "--dir"})
    known = {
        "VALUED": " | ".join(valued),
        "VALUED_PATTERN": " | *:".join(valued),
        "COMMANDS_PATTERN": " | ".join(BY_NAME),
        "SCRIPT": "script",
        "DIRECTORIES": DIRECTORIES,
        "CHOICES": "\n".join(_choices(parsers)),
        "OPTIONS": "\n".join(_options(parsers)),
        "ARGUMENTS": "\n".join(_arguments(parsers)),
    }
    text = f"{_COMMON}\n{_BASH if shell == 'bash' else _ZSH}"
    for name, value in known.items():
        text = text.replace(f"@{name}@", value)
    return text


def _with_values(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options that take the next word. One whose value may be left out takes none here."""
    for action in _actions(parser):
        if action.nargs is None and action.option_strings:
            yield from action.option_strings


def _choices(parsers: Mapping[str, argparse.ArgumentParser]) -> Iterator[str]:
    """For an option with a few values, which are the same in every command that has it."""
    known = {
        option: action.choices
        for parser in parsers.values()
        for action in _actions(parser)
        for option in action.option_strings
        if action.choices
    }
    for option, choices in known.items():
        yield f"    *:{option}) {_print(choices)} && return ;;"


def _options(parsers: Mapping[str, argparse.ArgumentParser]) -> Iterator[str]:
    for command, parser in parsers.items():
        options = [option for action in _actions(parser) for option in action.option_strings]
        pattern = f"{command}:-*" if command else ":-* | script:-*"
        yield f"    {pattern}) {_print(options)} && return ;;"


def _arguments(parsers: Mapping[str, argparse.ArgumentParser]) -> Iterator[str]:
    """For the words without a dash."""
    scripts = '"$program" completion --names scripts --dir "$directory" 2>/dev/null'
    typed = _print(name for name, command in BY_NAME.items() if not command.is_hidden)
    yield f'    "") {typed}; {scripts} ;;'
    yield f"    script) {scripts} ;;"
    for command, parser in parsers.items():
        positional = {action.dest: action.choices for action in _actions(parser) if not action.option_strings}
        if command and positional.keys() & {"scripts", "script"}:
            yield f"    {command}) {scripts} ;;"
        elif "instance" in positional:
            tools = _print(tool.name for tool in INSTANCE_TOOLS)
            yield f'    {command}) "$program" completion --names instances 2>/dev/null; {tools} ;;'
        elif choices := next(filter(None, positional.values()), None):
            yield f"    {command}) {_print(choices)} ;;"


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse has no other list of them


def _print(words: Iterable[str]) -> str:
    return f"printf '%s\\n' {shlex.join(words)}"
