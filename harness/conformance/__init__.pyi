from .inputs import WIDTH
from .outcomes import CheckResult
from .parts import Checked, check_file, check_part, kinds_of
from .rules import RULES
from .suite import run_checks, run_contract, subjects

__all__ = [
    "RULES",
    "WIDTH",
    "CheckResult",
    "Checked",
    "check_file",
    "check_part",
    "kinds_of",
    "run_checks",
    "run_contract",
    "subjects",
]
