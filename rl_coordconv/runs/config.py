"""Settings: a YAML file and the command line become one validated, frozen config.

A config is a pydantic class. Its fields are the keys of the YAML file and, with dashes, the flags
of the script; their descriptions are the help. The YAML file holds the defaults and their sources.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class UserError(ValueError):
    """A mistake that one sentence explains; a script prints it and exits with code 2."""


class Config(BaseModel, ABC):
    """What can be set in an experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The run's own folder: ``<log_dir>/<experiment>/<what>/<variant>/seed-<n>``."""


C = TypeVar("C", bound=Config)


@contextlib.contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Print a `UserError` of the block on stderr and exit with code 2; after Ctrl-C with 130."""
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None


def nearest(name: object, names: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the one meant, or all there are."""
    names = sorted(names)
    match = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f"did you mean {match[0]}?" if match else f"there are: {', '.join(names)}."


@dataclass(frozen=True)
class Defaults:
    """The values of an experiment's settings, and the file that they stand in."""

    file: Path
    values: Mapping[str, Any]


# From flags as typed, by field name, to the defaults that go with them.
FindDefaults = Callable[[Mapping[str, str]], Defaults]


def load_config(
    config_class: type[C], defaults: Path | Defaults, flags: Mapping[str, Any] | None = None
) -> C:
    """Let flags win over the values of a YAML file, and validate.

    Args:
        config_class: The experiment's config.
        defaults: The file, or its values: one for every field without a default, none unknown.
        flags: Values by field name.

    Raises:
        UserError: The file cannot be read, or a value is missing, unknown or wrong.
    """
    flags = flags or {}
    if isinstance(defaults, Path):
        defaults = Defaults(defaults, read_yaml(defaults))
    try:
        return config_class.model_validate({**defaults.values, **flags})
    except ValidationError as error:
        details = error.errors()[0]
        name = ".".join(str(part) for part in details["loc"])
        if details["type"] == "value_error":  # a sentence of the config's own
            raise UserError(str(details["ctx"]["error"])) from None
        where = flag(name) if name in flags else f"{defaults.file}: {name}"
        raise UserError(f"{where} {_end_of_sentence(details, config_class)}") from None


def parse_args(
    config_class: type[C],
    defaults: Path | FindDefaults,
    description: str,
    argv: Sequence[str] | None = None,
    *,
    switches: Mapping[str, str] | None = None,
) -> tuple[C, argparse.Namespace]:
    """Turn a script's command line into a config.

    Args:
        config_class: The experiment's config, whose fields are the flags.
        defaults: The YAML file of defaults, which ``--config`` replaces, or what finds them.
        description: What the script does, for ``--help``.
        argv: The command line; None for the process's own.
        switches: More flags without a value, and their help, beside ``--overwrite``.

    Returns:
        The config; and the switches, true where given.

    Raises:
        UserError: A flag is unknown or a value wrong.
    """
    find = defaults if callable(defaults) else partial(_named_or, defaults)
    switches = {"overwrite": "delete this run's folder and start over", **(switches or {})}
    # The file comes first: its values are the defaults that the help shows.
    first = Parser(add_help=False)
    for name in (*config_class.model_fields, "config"):
        first.add_argument(flag(name), default=argparse.SUPPRESS)
    found = find(vars(first.parse_known_args(argv)[0]))

    parser = Parser(description=description)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"YAML file of settings (default: {found.file.name})",
    )
    for name, help_text in switches.items():
        parser.add_argument(flag(name), action="store_true", help=help_text)
    for name, field in config_class.model_fields.items():
        default = found.values.get(name, "none")
        help_text = f"{field.description} (default: {default})".replace("%", "%%")
        parser.add_argument(
            flag(name), metavar=_metavar(field), default=argparse.SUPPRESS, help=help_text
        )
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        flags = [flag(name) for name in (*config_class.model_fields, "config", *switches)]
        raise UserError(f"There is no flag {unknown[0]}; {nearest(unknown[0], flags)}")
    given = {
        name: parse_value(vars(known)[name], field)
        for name, field in config_class.model_fields.items()
        if name in known
    }
    return load_config(config_class, found, given), known


def _named_or(default_file: Path, flags: Mapping[str, str]) -> Defaults:
    file = Path(flags.get("config", default_file))
    return Defaults(file, read_yaml(file))


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as a `UserError`, without the usage."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError`."""
        raise UserError(f"{message[0].upper()}{message[1:]}.")


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a file.

    Raises:
        UserError: It cannot be read or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"Cannot read the config file {path}: {reason}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise UserError(f"{path} is not valid YAML: see line {line}.") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path} must hold settings, one `name: value` a line.")
    return content


def flag(name: str) -> str:
    """A setting's flag.

    >>> flag("n_envs")
    '--n-envs'
    """
    return "--" + name.replace("_", "-")


def _metavar(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    return "N" if field.annotation is int else "X" if field.annotation is float else "NAME"


def parse_value(text: object, field: FieldInfo) -> object:
    """The number in a flag's text where the field holds one; a wrong text is left to validation."""
    if field.annotation not in (int, float) or not isinstance(text, str):
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    whole = field.annotation is int and math.isfinite(number) and number == int(number)
    return int(number) if whole else number


def _end_of_sentence(details: ErrorDetails, config_class: type[Config]) -> str:
    """A validation error in plain words."""
    value, kind, limits = details["input"], details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return f"is not a setting; {nearest(str(details['loc'][0]), config_class.model_fields)}"
    if kind == "missing":
        return "is missing."
    wanted = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number (in YAML, 0.0007 or 7.0e-4)",
        "finite_number": "a finite number",
        "string_type": "text",
        "literal_error": limits.get("expected", ""),
        "greater_than": f"greater than {limits.get('gt')}",
        "greater_than_equal": f"at least {limits.get('ge')}",
        "less_than_equal": f"at most {limits.get('le')}",
    }.get(kind, details["msg"])
    return f"must be {wanted}, not {value!r}."
