"""Print the script that lets a shell complete `saescale`. `saescale completion bash`

The script asks `saescale completion answer WORD …` for the possible completions of the last word, so that options,
config groups and choices always match the current code and conf/.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence

from fit.data.near_names import did_you_mean
from fit.views.verbs.command import Parser, UsageError
from sweeps.verbs.arguments import SweepVerb

FILES, FOLDERS = ":files", ":folders"  # answers that the script replaces with paths
_PATHS = {"TABLE": FILES, "FITS": FILES, "FILE": FILES, "DIR": FOLDERS, "RUN|STUDY": FOLDERS}

# COMP_LINE is read instead of COMP_WORDS because bash splits the latter at each = and : too. The part of the word up to
# the last of these is already on the line, so the replies leave it out.
BASH = r"""
_saescale() {
    local line="${COMP_LINE:0:COMP_POINT}" answer word shown
    local -a words
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    word="${words[${#words[@]} - 1]}"
    shown="${word%"${word##*[=:]}"}"
    [[ "$COMP_WORDBREAKS" == *=* ]] || shown=""
    COMPREPLY=()
    while IFS= read -r answer; do
        case "$answer" in
            :files) compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$word") ;;
            :folders) compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$word") ;;
            *=) compopt -o nospace; COMPREPLY+=("${answer#"$shown"}") ;;
            *) COMPREPLY+=("${answer#"$shown"}") ;;
        esac
    done < <("${words[0]}" completion answer "${words[@]:1}" 2>/dev/null)
}
complete -F _saescale saescale
"""
ZSH = r"""#compdef saescale
_saescale() {
    local answer
    for answer in "${(@f)$("${words[1]}" completion answer "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case "$answer" in
            :files) _files ;;
            :folders) _files -/ ;;
            *=) compadd -S '' -- "$answer" ;;
            ?*) compadd -- "$answer" ;;
        esac
    done
}
if [[ "${funcstack[1]}" == _saescale ]]; then _saescale "$@"; else compdef _saescale saescale; fi
"""
FISH = r"""
function __saescale_answers
    set -l typed (commandline -opc)
    set -l word (commandline -ct)
    for answer in ($typed[1] completion answer $typed[2..-1] "$word" 2>/dev/null)
        switch $answer
            case :files
                __fish_complete_path "$word"
            case :folders
                __fish_complete_directories "$word" ''
            case '*'
                echo $answer
        end
    end
end
complete -c saescale -f -a '(__saescale_answers)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def answers(words: Sequence[str]) -> list[str]:
    """The completions of the last of these words after `saescale`: whole words, FILES or FOLDERS."""
    from sweeps.verbs.cli import VERBS, named, parser

    *before, word = words or [""]
    if not before:
        return _starting(word, parser().option_names() if word.startswith("-") else VERBS)
    if before[0] not in VERBS or before[0] == "bench" and len(before) > 1:  # a benchmark's own options
        return []
    return _after_verb(named(before[0]).parser(), before[1:], word)


def _after_verb(parser: Parser, before: Sequence[str], word: str) -> list[str]:
    if word.startswith("-"):
        option, equals, value = word.partition("=")
        if not equals:
            return _starting(word, parser.option_names())
        return [f"{option}={each}" for each in _values(parser.option(option), value)]
    asked, waits = _open_option(parser, before)
    values = [] if asked is None else _values(asked, word)
    if waits:
        return values
    place = sum(not each.startswith("-") for each in before)
    arguments = parser.arguments()
    if not arguments:
        return values
    argument = arguments[min(place, len(arguments) - 1)]
    if place >= len(arguments) and argument.nargs not in ("*", "+"):
        return values
    return values + _values(argument, word)


def _open_option(parser: Parser, before: Sequence[str]) -> tuple[argparse.Action | None, bool]:
    """The option that can take the next word as its value, and whether the next word must be such a value."""
    for distance, earlier in enumerate(reversed(before), 1):
        if earlier.startswith("-"):
            option = parser.option(earlier)
            if option is None or option.nargs == 0 or "=" in earlier:
                return None, False
            several = option.nargs in ("*", "+")
            return (option, distance == 1) if several or distance == 1 else (None, False)
    return None, False


def _values(action: argparse.Action | None, word: str) -> list[str]:
    if action is None:
        return []
    if action.choices is not None:
        return _starting(word, map(str, action.choices))
    metavar = str(action.metavar)
    if metavar == "SHELL":
        return _starting(word, SCRIPTS)
    if metavar in ("OVERRIDES", "STUDY"):
        return _overrides(word) + ([FILES] if metavar == "STUDY" and "=" not in word else [])
    return [_PATHS[metavar]] if metavar in _PATHS else []


def _overrides(word: str) -> list[str]:
    """Overrides that begin with `word`: keys and groups up to their =, then the choices of a group or a boolean."""
    from sweeps.config.keys import config_groups, config_keys

    keys, groups = config_keys(), config_groups()
    name, equals, value = word.partition("=")
    if not equals:
        added = [
            f"{sign}{key}=" for key in keys for sign in ("", "+", "++") if word.startswith("+") or not sign
        ]
        return _starting(word, [*(f"{group}=" for group in groups), *added])
    bare = name.lstrip("+")
    choices = groups.get(name) or groups.get(bare) or groups.get(f"+{bare}") or []
    if keys.get(bare) in (bool, bool | None):
        choices = ["true", "false"]
    first, comma, _ = value.rpartition(",")
    return _starting(word, [f"{name}={first}{comma}{choice}" for choice in choices])


def _starting(word: str, candidates: Iterable[str]) -> list[str]:
    return [candidate for candidate in candidates if candidate.startswith(word)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare SHELL. The scripts call this verb with `answer` and the words typed so far."""
    parser.add_argument("shell", metavar="SHELL", help="bash, zsh or fish")
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Print a shell's script, or the answers for the words typed."""
    if arguments.shell == "answer":
        sys.stdout.writelines(f"{answer}\n" for answer in answers(arguments.words))
    elif arguments.shell in SCRIPTS:
        print(SCRIPTS[arguments.shell].strip())
    else:
        near = did_you_mean(arguments.shell, SCRIPTS)
        raise UsageError(f"{arguments.shell!r} is not among the shells {', '.join(SCRIPTS)}.{near}")
    return 0


main = SweepVerb(
    "completion",
    add_arguments,
    run,
    "Print the script with which a shell completes verbs, options, config keys and groups, and tables.",
    examples="""
    saescale completion bash > ~/.local/share/bash-completion/completions/saescale
    saescale completion zsh > "${fpath[1]}/_saescale"
    saescale completion fish > ~/.config/fish/completions/saescale.fish
    eval "$(saescale completion bash)"     (in this shell only)
    """,
)

if __name__ == "__main__":
    raise SystemExit(main())
