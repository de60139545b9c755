from .inputs import WIDTH
from .rules import RULES
from .suite import CheckResult, run_checks, run_contract, subjects

__all__ = ["RULES", "WIDTH", "CheckResult", "run_checks", "run_contract", "subjects"]
