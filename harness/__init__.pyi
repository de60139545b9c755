from .api.comparison import Comparison, compare
from .api.data import load_dataset
from .api.evaluation import evaluate
from .api.frames import ranks_df, results_df
from .api.methods import Method, create, fit
from .api.models import Model, load_run
from .api.names import list_datasets, list_protocols, list_scorers
from .api.results import Result
from .errors import ItmError

__version__: str
__all__ = [
    "Comparison",
    "ItmError",
    "Method",
    "Model",
    "Result",
    "compare",
    "create",
    "evaluate",
    "fit",
    "list_datasets",
    "list_protocols",
    "list_scorers",
    "load_dataset",
    "load_run",
    "ranks_df",
    "results_df",
]
