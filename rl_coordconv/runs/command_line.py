"""The command line of a script: its flags, and its errors in one sentence."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo

from rl_coordconv.runs.config import C, Config, UserError, expand_path, flag, parse_value
from rl_coordconv.runs.hints import meant, nearest


@contextlib.contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Print a `UserError` of the block on stderr and exit with code 2; after Ctrl-C with 130.

    Too little memory, mostly for settings that are too large, is such an error too.
    """
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    except (MemoryError, RuntimeError) as error:
        text = str(error).partition("\n")[0]  # RuntimeError is torch's
        is_memory = isinstance(error, MemoryError) or re.search("allocat|out of mem|overflow", text)
        if not is_memory:
            raise
        print(f"There is not enough memory for these settings ({text}).", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None


class Switches(NamedTuple):
    """The flags of a training that are no settings.

    Attributes:
        overwrite: Delete an earlier run and start over.
        track: Log to Weights & Biases.
    """

    overwrite: bool
    track: bool


def parse_args(
    config_class: type[C], defaults: Path, description: str, argv: Sequence[str] | None = None
) -> tuple[C, Switches]:
    """Turn a command line into a config.

    Args:
        config_class: The experiment's config, whose fields are the flags.
        defaults: The experiment's file in ``configs/``; ``--config`` names one that overrides it.
        description: What the script does, for ``--help``.
        argv: The command line; None for the process's own.

    Returns:
        The config, and the flags that are no settings.

    Raises:
        UserError: A flag is unknown or a value wrong.
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
        "--track", action="store_true", help="log to Weights & Biases too (pip install wandb)"
    )
    for name, info in fields.items():
        help_text = f"{info.description}".replace("%", "%%") + " (default: %(default)s)"
        parser.add_argument(flag(name), metavar=_metavar(info), help=help_text)
    known, unknown = parser.parse_known_args(argv)
    given = vars(known)
    found = config_class.find_defaults(defaults, given)
    if "help" in given:
        parser.set_defaults(**{name: found.values.get(name, "none") for name in fields})
        parser.print_help()
        raise SystemExit(0)
    if unknown:
        names = map(flag, (*fields, "config", *Switches._fields))
        hint = _named_value(unknown[0], config_class, defaults) or nearest(unknown[0], names)
        raise UserError(f"There is no flag {unknown[0]}; {hint}")
    values = {name: parse_value(given[name], fields[name]) for name in fields if name in given}
    return config_class.load(found, values), Switches(*(n in given for n in Switches._fields))


class Parser(argparse.ArgumentParser):
    """A parser that explains a mistake in one sentence, as a `UserError`, without the usage."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("prog", _program())
        super().__init__(allow_abbrev=False, **kwargs)
        text = f"rl_coordconv {version('rl_coordconv')}"
        self.add_argument("--version", action="version", version=text, help="show the version")

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError`, with a hint if a flag is unknown."""
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
    """Return a hint for ``lr=0.1``, or for a value alone, as ``coordconv``; None if it is neither.

    Args:
        word: What was given instead of a flag.
        config_class: The experiment's config.
        defaults: The experiment's file in ``configs/``.
    """
    name, equals, value = word.partition("=")
    if equals:
        setting = None if name.startswith("-") else meant(name, config_class.flags())
    else:
        value = word.lstrip("-")
        settings = config_class.flags()
        # Not those that accept any text, or any number. Trying --log-dir would build a network.
        picky = (
            name
            for name in settings
            if name != "log_dir"
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
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    return "N" if field.annotation is int else "X" if field.annotation is float else "NAME"
