"""How a case of bad input is written: what is typed, and a part of the line that must come back."""

from __future__ import annotations

import shlex
from typing import Any

import pytest


def case(line: str, message: str, code: int = 2) -> Any:
    return pytest.param(line, message, code, id=f"{line[:70]}")


def settings(*pairs: tuple[str, str]) -> list[Any]:
    """Cases of `itm leaderboard` with one override each."""
    quoted = [(shlex.quote(setting).replace("{", "{{").replace("}", "}}"), message) for setting, message in pairs]
    return [case(f"leaderboard {{tiny}} --set {setting}", message) for setting, message in quoted]
