"""What a leaderboard says in words: what its numbers are, what they rest on, and what they do not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.records import noise
from harness.reports.document.text import fixed, significant
from harness.reports.leaderboard.board import Board
from harness.reports.statistics.refusals import MINIMUM_SEEDS

_TIES = {
    "pessimistic": "a wrong item with the same score counts as ranked above the correct one",
    "optimistic": "a wrong item with the same score counts as ranked below it, which flatters constant scores",
    "expected": "items with the same score stand in every order alike: recalls are probabilities, ranks are means",
}

_HIT_RATE = (
    "R@K is the percentage of queries with at least one correct item among the first K, information retrieval's "
    "success or hit rate; rSum is the sum of the six, at most 600. Only the dataset's own pairs count as correct: a "
    "caption that also fits another image is wrong there."
)


def headline(board: Board) -> str:
    """Who leads, by how sure a margin, in one sentence."""
    best = board.rows[0]
    score = f"rSum {fixed(best['rsum'], 1)}{_range(best)}" if best["rsum"] is not None else "no rSum"
    if board.comparison is None:
        verb = "has" if len(board.rows) == 1 else "has the highest score,"
        return f"On {board.gallery.title}, {best['label']} {verb} {score}. {board.refusal}".strip()
    equals = [place.name for place in board.ranked if place.tier == 1 and place.name != best["label"]]
    claim = (
        "on new images and new seeds" if board.comparison.claim == "method" else "on new images, for these checkpoints"
    )
    if equals:
        return (
            f"On {board.gallery.title}, {best['label']} has the highest {score}, but {listed(equals)} cannot be told "
            f"apart from it {claim}."
        )
    return f"On {board.gallery.title}, {best['label']} leads with {score}: the others are significantly worse {claim}."


def subject(board: Board) -> str:
    """What the tables of a board are about, in a sentence."""
    count = len(board.rows)
    low, high = board.captions_an_image
    each = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"{count} method{'' if count == 1 else 's'}, {_seeds(board)}, on {board.images:,} images and "
        f"{board.captions:,} captions ({each} an image) of the {board.gallery.split} split of {board.gallery.dataset}, "
        f"protocol {board.gallery.protocol}: captions are searched for an image (i2t) and images for a caption (t2i)."
    )


def reading(board: Board) -> list[str]:
    """How to read the tables of a board: what the numbers are, what they rest on, what they do not show."""
    return [_HIT_RATE, *_uncertainty(board), *_limits(board), *_cost(board)]


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _range(row: dict) -> str:
    if row["rsum_low"] is None:
        return ""
    return f" (95 % interval {fixed(row['rsum_low'], 1)} to {fixed(row['rsum_high'], 1)})"


def _seeds(board: Board) -> str:
    counts = sorted({len(group.seeds) for group in board.groups})
    if len(counts) == 1:
        return "1 seed each" if counts[0] == 1 else f"{counts[0]} seeds each"
    return f"{counts[0]} to {counts[-1]} seeds each (not equally many, see the column Seeds)"


def _uncertainty(board: Board) -> Iterator[str]:
    counts = {len(group.seeds) for group in board.groups}
    if max(counts) > 1:
        yield (
            "± is the standard deviation over seeds. Brackets hold the 95 % interval for new images and new seeds of "
            "the same method, with the image as the unit: an image's own query and all its captions move together."
        )
    if 1 in counts:
        whose = "The" if counts == {1} else "For methods with one seed the"
        yield (
            f"{whose} 95 % interval in brackets covers new images only, with the image as the unit; one seed says "
            "nothing about retraining."
        )
    if board.comparison is None:
        if board.refusal and len(board.rows) > 1:
            yield board.refusal
        return
    yield (
        "A tier begins with a method that is significantly worse in rSum than the leader of the tier above "
        f"(all {len(board.comparison.rows)} pairs at once, maxT at 5 %, {board.comparison.resamples:,} resamples); the "
        "order within a tier is not evidence. Rank gives the ranks that the same tests leave open."
    )
    if board.comparison.claim == "checkpoint":
        yield (
            f"The tiers are about these trained models only: a claim about the methods needs {MINIMUM_SEEDS} seeds or "
            "more of each."
        )


def _limits(board: Board) -> Iterator[str]:
    yield from _tie_rule(board)
    trials = {row["tuning_trials"] for row in board.rows if row["tuning_trials"] is not None}
    if trials == {0}:
        yield (
            "No method was tuned for this table (0 trials each): settings are each method's own defaults or the "
            "experiment's."
        )
    elif len(trials) > 1:
        yield (
            f"Tuning budgets differ ({min(trials)} to {max(trials)} trials): a method that was tuned more has an "
            "advantage that is not its own."
        )
    if board.gallery.dataset.startswith("scenes"):
        yield "The images are generated: these numbers compare methods, they do not predict recalls on photographs."
    for notice in board.comparison.notices if board.comparison else ():
        yield notice.message
    yield from _code(board)


def _tie_rule(board: Board) -> Iterator[str]:
    rules = {g.first.ties for g in board.groups} & _TIES.keys()
    rates = [row["tie_rate"] for row in board.rows if row["tie_rate"] is not None]
    most = f" At most {significant(100 * max(rates), 2)} % of a method's queries tie." if rates and max(rates) else ""
    none = " No query ties." if rates and not max(rates) else ""
    for rule in sorted(rules):
        yield f"Ties are {rule}: {_TIES[rule]}.{most}{none}"
    if len(rules) > 1:
        yield "The methods were not evaluated under one tie rule; evaluate them again under the same."


def _code(board: Board) -> Iterator[str]:
    codes = [record.code for group in board.groups for record in group.records]
    revisions = sorted({code.revision[:12] for code in codes} - {"unknown"})
    if len(revisions) > 1:
        yield f"The runs come from {len(revisions)} revisions of the code ({', '.join(revisions)})."
    if any(code.dirty for code in codes):
        yield "Some runs were made with code that differs from its recorded revision (uncommitted changes)."


def _cost(board: Board) -> Iterator[str]:
    records = [record for group in board.groups for record in group.records if record.cost.figures]
    if not records:
        return
    devices = list(dict.fromkeys(str(row["device"]) for row in board.rows))
    if len(devices) == 1:
        yield f"Costs are medians over seeds, measured on {devices[0]}; they say nothing about other machines."
    else:
        yield f"Costs were measured on different devices ({'; '.join(devices)}): compare them only within one."
    kinds = sorted({str(row["peak_memory_kind"]) for row in board.rows if row["peak_memory_kind"]})
    if kinds:
        yield f"Peak memory is that of training and evaluation ({' or '.join(kinds)} memory)."
    costs = [record.cost for record in records]
    if any(noise.is_noisy(costs, key) for key in noise.TIMES):
        most = max(noise.load(cost, key) or 0.0 for cost in costs for key in noise.TIMES)
        yield f"{noise.LEGEND} Here others took up to {fixed(most, 0)} %."
    if any(noise.is_unknown(costs, key) for key in noise.TIMES):
        yield noise.UNKNOWN
