"""What every options dataclass is made of: fields that know their help, unit and range, and are checked."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from tractome.errors import OptionError


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of an options dataclass: its default, help text, unit, least and largest value, or its choices."""
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


class Checked:
    """Checks each field against the range or the choices in its metadata, at construction."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                _check(field.name, item, field.metadata)


def _check(name: str, value: Any, rule: Any) -> None:
    if value is None:
        return
    choices = rule["choices"]
    if choices and value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        message = f"{name} = {value!r} is not known; choose one of: {', '.join(choices)}.{hint}"
        raise OptionError(message)
    low, high, unit = rule["low"], rule["high"], f" {rule['unit']}" if rule["unit"] else ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value != value or (low is not None and value < low) or (high is not None and value > high):
            limits = (
                f"between {low:g} and {high:g}"
                if low is not None and high is not None
                else (f"at least {low:g}" if low is not None else f"at most {high:g}")
            )
            message = f"{name} = {value:g}{unit} is out of range; it must be {limits}{unit}."
            raise OptionError(message)
