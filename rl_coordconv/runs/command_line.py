"""Command-line parsing, and one-sentence error messages, for the scripts."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo

from rl_coordconv.runs.config import C, Config, UserError, expand_path, flag, is_path, parse_value
from rl_coordconv.runs.hints import meant, nearest
from rl_coordconv.runs.ranks import is_lost_connection, local_rank

_PATIENCE_SECONDS = 10  # for torchrun, which notices within a second that a process has ended


@contextlib.contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Report a `UserError` or too little memory on stderr and exit with code 2.

    The same applies to the loss of the connection to another process. Ctrl-C exits with code 130.
    """
    try:
        yield
    except UserError as error:
        _report(str(error))
        raise SystemExit(2) from None
    except (MemoryError, RuntimeError) as error:
        text = str(error).partition("\n")[0]  # torch raises RuntimeError
        if is_lost_connection(error):
            cause = text.partition(". ")[0]
            _report(f"Another process ended ({cause}). Run the same command again to resume.")
            raise SystemExit(2) from None
        is_memory = isinstance(error, MemoryError) or re.search("allocat|out of mem|overflow", text)
        if not is_memory:
            raise
        _report(f"There is not enough memory for these settings ({text}).")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        if local_rank() == 0:
            print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None


def _report(sentence: str) -> None:
    """Print a sentence on stderr, once for all processes of this machine that have to report it."""
    if local_rank() > 0:
        # Usually, local rank 0 has the same error, or ended first and so caused this one. Then
        # torchrun ends this process while it waits.
        time.sleep(_PATIENCE_SECONDS)
    print(sentence, file=sys.stderr)


class Switches(NamedTuple):
    """The flags of a training script that are not settings.

    Attributes:
        overwrite: Delete an earlier run and start over.
        track: Log to Weights & Biases.
    """

    overwrite: bool
    track: bool


def parse_args(
    config_class: type[C], defaults: Path, description: str, argv: Sequence[str] | None = None
) -> tuple[C, Switches]:
    """Parse the command line of a training.

    Args:
        config_class: The experiment's config class, whose fields are the flags.
        defaults: The experiment's file or folder in ``configs/``.
        description: Description of the command for ``--help``.
        argv: Command-line arguments; None uses ``sys.argv[1:]``.

    Returns:
        The config, and the flags that are not settings.

    Raises:
        UserError: A flag is unknown or a value is invalid.
    """
    fields = config_class.flags()
    parser = Parser(description=description, add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="store_true", help="show this help and exit")
    parser.add_argument(
        "--config",
        type=expand_path,
        metavar="FILE",
        help="YAML file of settings that differ from the defaults",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="delete this run's folder and start over"
    )
    parser.add_argument(
        "--track", action="store_true", help="also log to Weights & Biases (pip install wandb)"
    )
    for name, info in fields.items():
        help_text = f"{info.description}".replace("%", "%%") + " (default: %(default)s)"
        parser.add_argument(flag(name), metavar=_metavar(info), help=help_text)
    known, unknown = parser.parse_known_args(argv)
    given = vars(known)
    found = config_class.find_defaults(defaults, given)
    if "help" in given:
        shown = {name: found.values.get(name, "") for name in fields}
        parser.set_defaults(**{k: "none" if value == "" else value for k, value in shown.items()})
        parser.print_help()
        raise SystemExit(0)
    if unknown:
        names = map(flag, (*fields, "config", *Switches._fields))
        hint = _named_value(unknown[0], config_class, defaults) or nearest(unknown[0], names)
        raise UserError(f"There is no flag {unknown[0]}; {hint}")
    values = {name: parse_value(given[name], fields[name]) for name in fields if name in given}
    return config_class.load(found, values), Switches(*(n in given for n in Switches._fields))


class Parser(argparse.ArgumentParser):
    """An argument parser that raises a `UserError` instead of printing the usage and exiting."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("prog", _program())
        super().__init__(allow_abbrev=False, **kwargs)
        text = f"rl_coordconv {version('rl_coordconv')}"
        self.add_argument("--version", action="version", version=text, help="show the version")

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError`, with a suggestion for an unknown flag."""
        _, is_unknown, words = message.partition("unrecognized arguments: ")
        if is_unknown:
            word = words.split()[0]
            raise UserError(f"There is no flag {word}; {nearest(word, self._flags())}")
        raise UserError(f"{message[0].upper()}{message[1:]}.")

    def _flags(self) -> list[str]:
        """Return the flags, including those of subcommands."""
        flags = [text for action in self._actions for text in action.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                flags += [text for parser in action.choices.values() for text in parser._flags()]
        return [text for text in flags if text.startswith("--")]


def _program() -> str:
    """Return the program's name for ``--help``: ``train_a2c.py``, or ``rl-coordconv train-a2c``."""
    name = Path(sys.argv[0]).name
    is_script = Path(name).stem not in ("rl-coordconv", "__main__")
    return name if is_script else " ".join(["rl-coordconv", *sys.argv[1:2]])


def _named_value(word: str, config_class: type[Config], defaults: Path) -> str | None:
    """Return a suggestion for an argument such as ``lr=0.1`` or ``coordconv``; None if unclear.

    Args:
        word: The argument that is not a flag.
        config_class: The experiment's config class.
        defaults: The experiment's file or folder in ``configs/``.
    """
    name, equals, value = word.partition("=")
    if equals:
        setting = None if name.startswith("-") else meant(name, config_class.flags())
    else:
        value = word.lstrip("-")
        settings = config_class.flags()
        # Exclude settings that accept any text or any number; trying a path would import torch.
        picky = (
            name
            for name in settings
            if not is_path(settings[name])
            and _accepts(config_class, defaults, name, value)
            and not _accepts(config_class, defaults, name, f"no {value}")
        )
        setting = None if value[:1].isdigit() else next(picky, None)
    if setting is None:
        return None
    known = map(str, get_args(config_class.model_fields[setting].annotation))
    return f"did you mean {flag(setting)} {meant(value, known) or value}?"


def _accepts(config_class: type[Config], defaults: Path, name: str, value: str) -> bool:
    try:
        config_class.load(config_class.find_defaults(defaults, {name: value}), {name: value})
    except UserError:
        return False
    return True


def _metavar(field: FieldInfo) -> str:
    if is_path(field):
        return "DIR"
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    return "N" if field.annotation is int else "X" if field.annotation is float else "NAME"
