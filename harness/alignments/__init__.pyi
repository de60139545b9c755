from .explain import explain
from .preparation import prepare

__all__ = ["explain", "prepare"]
