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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails


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
    """Print a `UserError` of the block on stderr and exit with code 2."""
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the one meant, or all there are."""
    names = sorted(names)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {match[0]}?" if match else f"there are: {', '.join(names)}."


def load_config(config_class: type[C], path: Path, flags: Mapping[str, Any] | None = None) -> C:
    """Read a YAML file, let flags win over it, and validate.

    Args:
        config_class: The experiment's config.
        path: The YAML file: every field without a default, none unknown.
        flags: Values by field name.

    Raises:
        UserError: The file cannot be read, or a value is missing, unknown or wrong.
    """
    flags = flags or {}
    try:
        return config_class.model_validate({**_read_yaml(path), **flags})
    except ValidationError as error:
        details = error.errors()[0]
        name = ".".join(str(part) for part in details["loc"])
        if details["type"] == "value_error":  # a sentence of the config's own
            raise UserError(str(details["ctx"]["error"])) from None
        where = _flag(name) if name in flags else f"{path}: {name}"
        raise UserError(f"{where} {_end_of_sentence(details, config_class)}") from None


def parse_args(
    config_class: type[C], default_file: Path, description: str, argv: Sequence[str] | None = None
) -> tuple[C, bool]:
    """Turn a script's command line into a config.

    Returns:
        The config, and whether ``--overwrite`` was given.

    Raises:
        UserError: A flag is unknown or a value wrong.
    """
    # The file comes first: its values are the defaults that the help shows.
    first = _Parser(add_help=False)
    first.add_argument("--config", type=Path, default=default_file)
    file: Path = first.parse_known_args(argv)[0].config

    parser = _Parser(description=description)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"YAML file of settings (default: {default_file.name})",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="delete this run's folder and start over"
    )
    defaults = _read_yaml(file)
    for name, field in config_class.model_fields.items():
        default = defaults.get(name, "none")
        help_text = f"{field.description} (default: {default})".replace("%", "%%")
        parser.add_argument(
            _flag(name), metavar=_metavar(field), default=argparse.SUPPRESS, help=help_text
        )
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        flags = [_flag(name) for name in (*config_class.model_fields, "config", "overwrite")]
        raise UserError(f"There is no flag {unknown[0]}; {nearest(unknown[0], flags)}")
    given = {
        name: _parse(vars(known)[name], field)
        for name, field in config_class.model_fields.items()
        if name in known
    }
    return load_config(config_class, file, given), known.overwrite


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[0].upper()}{message[1:]}.")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"Cannot read the config file {path}: {reason}.") from None
    except yaml.YAMLError as error:
        line = (
            error.problem_mark.line + 1
            if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark
            else 1
        )
        raise UserError(f"{path} is not valid YAML: see line {line}.") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path} must hold settings, one `name: value` a line.")
    return content


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _metavar(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    return "N" if field.annotation is int else "X" if field.annotation is float else "NAME"


def _parse(text: str, field: FieldInfo) -> object:
    """The number in a flag's text where the field holds one; a wrong text is left to validation."""
    if field.annotation not in (int, float):
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    whole = field.annotation is int and math.isfinite(number) and number == int(number)
    return int(number) if whole else number


def _end_of_sentence(details: ErrorDetails, config_class: type[Config]) -> str:
    """A validation error in plain words."""
    value, kind = details["input"], details["type"]
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
        "literal_error": details.get("ctx", {}).get("expected", ""),
        "greater_than": f"greater than {details.get('ctx', {}).get('gt')}",
        "greater_than_equal": f"at least {details.get('ctx', {}).get('ge')}",
        "less_than_equal": f"at most {details.get('ctx', {}).get('le')}",
    }.get(kind, details["msg"])
    return f"must be {wanted}, not {value!r}."
