"""Validated, immutable settings from a YAML file and command-line flags.

A config is a pydantic class. Its fields are the keys of the YAML file and, with dashes, the flags
of the script; their descriptions are the help texts. The YAML file gives the defaults and their
sources.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from typing_extensions import Self

from rl_coordconv.runs.hints import meant
from rl_coordconv.runs.hints import nearest as nearest

# As safe as `yaml.SafeLoader` and ten times faster; a study reads hundreds of files.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MANY = 10**12  # more than any training needs; a larger count is a typing error
Count = Annotated[int, Field(ge=1, le=_MANY)]
SmallCount = Annotated[int, Field(ge=1, le=4096)]
"""A count of objects that each need memory, such as environments."""
NonNegativeInt = Annotated[int, Field(ge=0, le=_MANY)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class UserError(ValueError):
    """A user's mistake, explained in one sentence; scripts print it and exit with code 2."""


def _check_device(name: str) -> str:
    # torch.device(name) would check it too, but importing torch is slow.
    if not re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", name):
        raise ValueError(f"There is no device {name!r}; choose auto, cpu, cuda or cuda:N.")
    return name


MAY_CHANGE_ON_RESUME = frozenset(
    {
        "log_dir",
        "device",
        "num_threads",
        "cuda_graphs",
        "env_groups",
        "workers",
        "address",
        "num_learners",
        "eval_freq",
        "eval_episodes",
        "save_freq",
        "log_interval",
    }
)
"""Settings that may change when a run is resumed: storage, hardware, evaluation, logging."""

_MAX_VARIANT = 150  # characters; file systems allow 255

MAX_SEED = 2**32 - 1  # the largest that NumPy's legacy generator accepts
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


def expand_path(text: str) -> Path:
    """Expand ``~`` and environment variables in a path.

    Raises:
        ArgumentTypeError: The user or the variable does not exist.
    """
    try:
        path = str(Path(text).expanduser())
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"there is no such user: {text}") from None
    for name in re.findall(r"\$(\w+|\{[^}]*\})", path):
        if name.strip("{}") not in os.environ:
            raise argparse.ArgumentTypeError(f"the environment variable ${name} is not set")
    return Path(os.path.expandvars(path))


def _expand(text: str, info: ValidationInfo) -> str:
    try:
        return str(expand_path(text))
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{flag(str(info.field_name))} {text}: {error}.") from None


def resolve_path(text: str, info: ValidationInfo) -> str:
    """Return the absolute path of a folder or file to read; empty text stays empty."""
    return text and str(Path(_expand(text, info)).resolve())


_EXPANDED, _RESOLVED = AfterValidator(_expand), AfterValidator(resolve_path)
PathText = Annotated[str, _EXPANDED]
"""A folder's path as text, in which ``~`` and environment variables are expanded."""
InputText = Annotated[str, _RESOLVED]
"""The absolute path of a folder to read, as text; empty for none."""


def is_path(field: FieldInfo) -> bool:
    """Return whether a field is a `PathText` or `InputText`."""
    return _EXPANDED in field.metadata or _RESOLVED in field.metadata


DeviceName = Annotated[str, AfterValidator(_check_device)]
"""``auto`` or a torch device, which need not exist on this machine."""


class Config(BaseModel, ABC):
    """The settings that all experiments have; the subclass of an experiment adds others.

    A subclass restricts `experiment` to one name: ``experiment: Literal["a2c"] = "a2c"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    unit: ClassVar[str]
    """The unit of `length`, and of the column ``step`` of ``progress.csv``."""
    length_setting: ClassVar[str]
    """Name of the setting for `length`, which may be increased to extend a run."""
    folder_settings: ClassVar[frozenset[str]] = frozenset()
    """Settings whose values are always part of the run folder's path."""

    _defaults: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    experiment: str = Field(description="name of the experiment")
    seed: Seed = Field(description="random seed")
    device: DeviceName = Field(
        description="auto, cpu, cuda or cuda:N; auto uses a GPU if there is one"
    )
    num_threads: Annotated[int, Field(ge=0, le=1024)] = Field(
        description="CPU threads; 0 uses one per core"
    )
    log_dir: PathText = Field(description="parent folder of all runs")
    save_freq: Count = Field(description="steps between checkpoints")

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The run's folder: ``<log_dir>/<experiment>/<task>/<variant>/seed-<n>``."""

    @property
    def length(self) -> int:
        """The step at which the run is finished, in `unit`."""
        length: int = getattr(self, self.length_setting)
        return length

    @property
    def changed(self) -> dict[str, Any]:
        """The settings that distinguish this variant: those changed from the defaults.

        The defaults are those in the experiment's file in ``configs/``; empty if the config was
        created without that file. Settings that do not define a variant, such as the seed, are
        excluded.
        """
        others = {*self.folder_settings, *MAY_CHANGE_ON_RESUME, self.length_setting, "seed"}
        values = {name: self._number(name, value) for name, value in self._defaults.items()}
        return {
            name: getattr(self, name)
            for name in self.flags()
            if name in values.keys() - others and getattr(self, name) != values[name]
        }

    @property
    def given(self) -> dict[str, Any]:
        """The settings that reproduce this run if the others are the defaults.

        They are `folder_settings`, ``log_dir``, and those of seed, length and `changed` that
        differ from the defaults.
        """
        differing = [n for n in ("seed", self.length_setting) if self._differs(n)]
        names = {*self.folder_settings, *self.changed, *differing, "log_dir"}
        return {name: getattr(self, name) for name in self.flags() if name in names}

    def _differs(self, name: str) -> bool:
        value = self._number(name, self._defaults.get(name))
        return name in self._defaults and getattr(self, name) != value

    def variant(self, name: str) -> str:
        """Append the changed settings to a name: ``coordconv-gamma-0.9-n_steps-8``.

        Of a path, the last part is appended.
        """
        values = {key: str(value).rpartition("/")[2] for key, value in self.changed.items()}
        text = "-".join([name, *(f"{key}-{value}" for key, value in values.items())])
        if len(text) > _MAX_VARIANT:
            text = f"{text[:_MAX_VARIANT]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        return text

    @property
    @abstractmethod
    def score(self) -> str:
        """The column of ``progress.csv`` with the main metric."""

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower `score` is better."""
        return False

    @classmethod
    def find_defaults(cls, path: Path, flags: Mapping[str, object]) -> Defaults:
        """Return the default settings, to be overridden by flags.

        Args:
            path: The experiment's file or folder in ``configs/``.
            flags: The given flags by name. Values in the file ``flags["config"]`` override the
                experiment's. Other flags may select the defaults.

        Raises:
            UserError: A file cannot be read, or a flag that selects the defaults is invalid.
        """
        return Defaults(path, read_yaml(path)).overridden_by(flags.get("config"))

    @classmethod
    def flags(cls) -> dict[str, FieldInfo]:
        """Return the fields that are command-line flags, the experiment's before the shared."""
        fields = {name: f for name, f in cls.model_fields.items() if name != "experiment"}
        return dict(sorted(fields.items(), key=lambda item: item[0] in Config.model_fields))

    @classmethod
    def load(
        cls, defaults: Defaults, flags: Mapping[str, object] | None = None, place: str | None = None
    ) -> Self:
        """Create a validated config from default settings and flags.

        Args:
            defaults: A value for every field that has no default in the class.
            flags: Values by field name, which override the defaults.
            place: How errors name a flag, with ``{}`` for the field; None for its dashes.

        Raises:
            UserError: A setting is missing or unknown, or a value is invalid.
        """
        flags = flags or {}
        try:
            values = {**defaults.values, **flags}
            config = cls.model_validate({name: cls._number(name, x) for name, x in values.items()})
        except ValidationError as error:
            details = error.errors()[0]
            name = ".".join(str(part) for part in details["loc"])
            if details["type"] == "value_error":  # raised by the config class
                raise UserError(str(details["ctx"]["error"])) from None
            where = f"{defaults.file_of(name)}: {name}"
            if name in flags:
                where = place.format(name) if place else flag(name)
            raise UserError(f"{where} {_end_of_sentence(details, cls)}") from None
        config._defaults = defaults.of_experiment
        return config

    @classmethod
    def _number(cls, name: str, value: object) -> object:
        """Convert a string such as ``1e3``, which YAML does not read as a number."""
        field = cls.model_fields.get(name)
        return parse_value(value, field) if field else value


class TrainingConfig(Config):
    """Settings of a supervised training, whose steps are epochs."""

    unit = "epochs"
    length_setting = "n_epochs"

    save_freq: Count = Field(description="epochs between checkpoints")
    n_epochs: Count = Field(description="passes over the training samples")
    eval_freq: Count = Field(description="epochs between evaluations")


C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Defaults:
    """Default settings, and the files that they were read from.

    Attributes:
        file: The experiment's file.
        of_experiment: The experiment's values by name.
        own_file: The user's file, if any.
        own: The user's values by name.
    """

    file: Path
    of_experiment: Mapping[str, Any]
    own_file: Path | None = None
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """All values; the user's override the experiment's."""
        return {**self.of_experiment, **self.own}

    def overridden_by(self, file: object) -> Defaults:
        """Return these defaults, overridden by a user's file; None changes nothing.

        Raises:
            UserError: The file cannot be read.
        """
        if file is None:
            return self
        path = Path(str(file))
        return Defaults(self.file, self.of_experiment, path, read_yaml(path))

    def file_of(self, name: str) -> Path:
        """Return the file that a setting's value comes from."""
        return self.own_file if self.own_file and name in self.own else self.file


def read_yaml(path: Path) -> dict[str, Any]:
    """Read settings from a YAML file.

    Raises:
        UserError: The file cannot be read or does not contain settings.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"Cannot read the config file {path}: {reason}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise UserError(f"{path} is not valid YAML: see line {line}.") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path} must contain settings, one `name: value` per line.")
    return content


def flag(name: str) -> str:
    """Return the flag of a setting.

    >>> flag("n_envs")
    '--n-envs'
    """
    return "--" + name.replace("_", "-")


def parse_value(text: object, field: FieldInfo) -> object:
    """Convert a string or a float to the number type of a field.

    A value that cannot be converted is returned unchanged; validation rejects it.
    """
    if field.annotation not in (int, float) or not isinstance(text, str | float):
        return text
    try:
        number = float(text) + 0.0  # 0.0 for -0.0, as equal settings share a folder
    except ValueError:
        return text
    whole = field.annotation is int and math.isfinite(number) and number == int(number)
    return int(number) if whole else number


def _end_of_sentence(details: ErrorDetails, config_class: type[Config]) -> str:
    """Describe a validation error in words that follow the setting's name."""
    value, kind, limits = details["input"], details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return f"is not a setting; {nearest(str(details['loc'][0]), config_class.model_fields)}"
    if kind == "missing":
        return "is missing."
    wanted = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "text",
        "literal_error": limits.get("expected", ""),
        "greater_than": f"greater than {limits.get('gt')}",
        "greater_than_equal": f"at least {limits.get('ge')}",
        "less_than_equal": f"at most {limits.get('le')}",
        "less_than": f"less than {limits.get('lt')}",
    }.get(kind, details["msg"])
    match = None
    if kind == "literal_error":
        match = meant(value, get_args(config_class.model_fields[str(details["loc"][0])].annotation))
    return f"must be {wanted}, not {value!r}" + (f"; did you mean {match}?" if match else ".")
