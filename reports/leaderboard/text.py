"""What a leaderboard says in words: what its numbers are, what they rest on, and what they do not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.errors import counted
from harness.records import noise
from harness.records.run import RunRecord
from harness.reports.document.text import fixed, listed, significant, single_line
from harness.reports.leaderboard import further
from harness.reports.leaderboard.marks import is_at_chance, legend
from harness.reports.leaderboard.rows import Board, Row
from harness.reports.runs.evidence import bonus_sentence
from harness.reports.statistics.refusals import MINIMUM_SEEDS, held_back

_TIES = {
    "pessimistic": "a wrong item with the same score counts as ranked above the correct one",
    "optimistic": "a wrong item with the same score counts as ranked below it, which flatters constant scores",
    "expected": "all orders of items with the same score are equally likely: recalls are probabilities, ranks are means",
}
_HIT_RATE = (
    "R@K is the percentage of queries with at least one correct item among the first K, information retrieval's "
    "success or hit rate; rSum is the sum of the six, at most 600. Only the dataset's own pairs count as correct: a "
    "caption that also fits another image is wrong there."
)


def headline(board: Board) -> str:
    """Who leads of those that can be tested, by how sure a margin, and which averages stand above."""
    ranked = [row for row in board.rows if row["origin"] != "published"]
    best = (ranked or board.rows)[0]
    above = [f"{row['label']} ({fixed(row['rsum'], 1)})" for row in board.rows[: board.rows.index(best)]]
    below = [row["label"] for row in board.rows if row["origin"] == "published"][len(above) :] if ranked else []
    said = _lead(board, best, len(ranked or board.rows))
    if above:
        verb = "stands" if len(above) == 1 else "stand"
        said += f" {listed(above)} {verb} above it with averages only, which cannot be tested."
    if below:
        said += f" {listed(below)} {'has' if len(below) == 1 else 'have'} averages only and took no part in this."
    return said


def _lead(board: Board, best: Row, methods: int) -> str:
    place = board.gallery.title
    score = f"rSum {fixed(best['rsum'], 1)}{_range(best)}" if best["rsum"] is not None else "no rSum"
    if is_at_chance(best, "rSum"):
        floor = fixed(best["chance_rsum"], 1)
        return f"On {place}, no method is better than chance: {best['label']} has {score}, a random order {floor}."
    if board.comparison is None:
        verb = "has" if methods == 1 else "has the highest score,"
        return f"On {place}, {best['label']} {verb} {score}. {board.refusal}".strip()
    equals = [other.name for other in board.ranked if other.tier == 1 and other.name != best["label"]]
    claim = _whose(board.comparison.claim)
    if equals:
        return f"On {place}, {best['label']} has the highest {score}, but {listed(equals)} cannot be told apart from it {claim}."
    return f"On {place}, {best['label']} leads with {score}: the others are significantly worse {claim}."


def subject(board: Board) -> str:
    """What the tables of a board are about."""
    low, high = board.captions_per_image
    each = f"{low}" if low == high else f"{low} to {high}"
    size = f"{board.images:,} images and {board.captions:,} captions ({each} per image) of " if board.images else ""
    return (
        f"{counted(len(board.rows), 'method')}, {_seeds(board)}, on {size}"
        f"the {board.gallery.split} split of {board.gallery.dataset}, protocol "
        f"{board.gallery.protocol}: captions are searched for an image (i2t) and images for a caption (t2i)."
    )


def reading(board: Board, published: Sequence[Row] = ()) -> list[str]:
    """How to read the tables of a board: what the numbers are, what they rest on, what they do not show."""
    return [
        _HIT_RATE,
        *_chance(board),
        *legend([*board.rows, *published]),
        *_uncertainty(board),
        *further.said(board.metrics),
        *_difference(board),
        *_selection(board),
        *_limits(board),
        *_cost(board),
    ]


def verdicts(board: Board) -> Iterator[str]:
    """What the comparison with the baseline says; nothing without one."""
    against = board.against
    if against is None:
        return
    start = f"Against {against.baseline.name} (rSum {fixed(against.baseline.rsum, 1)}) on {board.gallery.title}"
    if against.comparison is None:
        yield f"{start}, differences are untested: {against.reason}."
        return
    better = [row.a for row in against.comparison.rows if row.outcome == "A better"]
    worse = [row.a for row in against.comparison.rows if row.outcome == "B better"]
    open_ones = [row.a for row in against.comparison.rows if row.a not in {*better, *worse}]
    parts = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} {what}"
        for names, what in ((better, "better"), (worse, "worse"), (open_ones, "not told apart from it"))
        if names
    ]
    yield f"{start}: {'; '.join(parts)} ({_whose(against.comparison.claim)})."


def _difference(board: Board) -> Iterator[str]:
    comparison = board.against.comparison if board.against else None
    if comparison is not None:
        yield (
            f"Δ rSum is a method's rSum minus that of {board.against.baseline.name}, paired by image, with its own 95 % "  # type: ignore[union-attr]
            f"interval; p is corrected by Holm's method for {counted(len(comparison.rows), 'comparison')} with it, "
            f"{_whose(comparison.claim)}."
        )


def _selection(board: Board) -> Iterator[str]:
    """That the rows were chosen on different data, where they were."""
    by_choice: dict[str, list[str]] = {}
    for row in board.rows:
        by_choice.setdefault(row["selected_on"] or "unknown", []).append(row["label"])
    if len(by_choice) > 1:
        parts = [f"{choice}: {listed(names)}" for choice, names in by_choice.items()]
        yield f"The rows differ in what their checkpoints were selected on ({'; '.join(parts)}): they are not on equal terms."
    kinds: dict[str, list[str]] = {}
    for row in board.rows:
        kinds.setdefault(row["tuning_kind"] or "unknown", []).append(row["label"])
    if len(kinds) > 1:
        parts = [f"{kind}: {listed(names)}" for kind, names in kinds.items()]
        yield f"The settings were found in different ways ({'; '.join(parts)}); these are different entries of a method."


def _whose(claim: str) -> str:
    return "on new images and new seeds" if claim == "method" else "on new images, for these checkpoints"


def _chance(board: Board) -> Iterator[str]:
    if not board.floors:
        if board.size and board.size.queries_only:
            yield (
                "No row of chance is shown: the files do not say how many correct items each query has under this protocol."
            )
        return
    yield (
        "The row of a random order is exact, not drawn: it follows from the size of the gallery and the number of correct "
        "items of each query. Constant scores are equal for all pairs, ranked under the methods' tie rule."
    )


def footnotes(board: Board) -> Iterator[str]:
    """Runs that were left out for a later one of the same seed, and citations."""
    for group in board.groups:
        if group.replaced:
            runs = f"run{'s' if len(group.replaced) > 1 else ''} {', '.join(group.replaced)}"
            yield f"{group.label}: seed repeated in {runs}; the latest run of each seed is shown."
    for group in board.groups:
        if group.first.citation:
            yield f"{group.label}: {single_line(group.first.citation)}"


def failure_count(failures: Sequence[RunRecord]) -> list[str]:
    """How many runs failed; nothing if none did."""
    verb = "is" if len(failures) == 1 else "are"
    return [f"{counted(len(failures), 'run')} failed and {verb} not in the tables; see the end."] if failures else []


def _range(row: Row) -> str:
    if row["rsum_low"] is None:
        return ""
    return f" (95 % interval {fixed(row['rsum_low'], 1)} to {fixed(row['rsum_high'], 1)})"


def _seeds(board: Board) -> str:
    counts = sorted({len(group.seeds) for group in board.groups})
    if len(counts) == 1:
        return f"{counted(counts[0], 'seed')} each"
    return f"{counts[0]} to {counts[-1]} seeds each (see the column Seeds)"


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
    comparison = board.comparison
    if comparison is None:
        if board.refusal and len(board.rows) > 1:
            yield board.refusal
        return
    yield (
        "A tier begins with a method that is significantly worse in rSum than the leader of the tier above "
        f"(all {len(comparison.rows)} pairs at once, maxT at 5 %, {comparison.resamples:,} resamples); the order within a "
        "tier is not evidence. Rank gives the ranks that the same tests leave open."
    )
    if comparison.claim == "checkpoint":
        said = (
            f"The tiers are about these trained models only: a claim about the methods needs at least {MINIMUM_SEEDS} seeds "
            "of each."
        )
        if few := held_back(comparison.methods, comparison.seeds):
            verb = "has" if len(few) == 1 else "have"
            said += (
                f" {listed(few)} {verb} fewer. The others have enough: `itm significance RESULTS --pairs A:B` claims more of "
                "two of them."
            )
        yield said


def _limits(board: Board) -> Iterator[str]:
    yield from _tie_rule(board)
    for group in board.groups:
        if bonus := bonus_sentence(group.records):
            yield f"{group.label}: {bonus}."
    trials = {row["tuning_trials"] for row in board.rows if row["tuning_trials"] is not None}
    if trials == {0}:
        yield (
            "No method was tuned for this table (0 trials each): settings are each method's own defaults or the "
            "experiment's."
        )
    elif len(trials) > 1:
        yield (
            f"Tuning budgets differ ({min(trials)} to {max(trials)} trials): a method that was tuned more has an "
            "unfair advantage."
        )
    if board.gallery.dataset.startswith("scenes"):
        yield "The images are generated: these numbers compare methods, they do not predict recalls on photographs."
    for notice in board.comparison.notices if board.comparison else ():
        yield notice.message
    codes = [record.code for group in board.groups for record in group.records]
    revisions = sorted({code.revision[:12] for code in codes if code.revision} - {"unknown"})
    if len(revisions) > 1:
        yield f"The runs come from {len(revisions)} revisions of the code ({', '.join(revisions)})."
    if any(code.dirty for code in codes):
        yield "Some runs were made with code that differs from its recorded revision (uncommitted changes)."


def _tie_rule(board: Board) -> Iterator[str]:
    rules = {g.first.spec.get("evaluation", {}).get("ties") for g in board.groups} & _TIES.keys()
    rates = [row["tie_rate"] for row in board.rows if row["tie_rate"] is not None]
    said = ""
    if rates:
        said = (
            f" At most {significant(100 * max(rates), 2)} % of a method's queries tie."
            if max(rates)
            else " No query ties."
        )
    for rule in sorted(rules):
        yield f"Ties are {rule}: {_TIES[rule]}.{said}"
    if len(rules) > 1:
        yield "The methods were not evaluated under one tie rule; evaluate them again under the same."


def _lacks_energy(records: Sequence[RunRecord]) -> bool:
    """Whether there was a training, and none whose energy was measured."""
    trained = [record for record in records if record.training.epochs]
    return bool(trained) and all(record.cost.train_energy_wh is None for record in trained)


def _cost(board: Board) -> Iterator[str]:
    costs = [record.cost for group in board.groups for record in group.records if record.cost.figures]
    if not costs:
        return
    if board.prices:
        yield (
            f"Money is counted at the prices that were given ({board.prices.said}): the training seconds of each device, and "
            "energy where it was measured. Tuning, failed runs and idle machines are not in it."
        )
        unknown = [group.label for group in board.groups if _lacks_energy(group.records)]
        if board.prices.per_kwh is not None and unknown:
            yield (
                f"The energy of training {listed(unknown)} was not measured, so the cost is not known at these prices; "
                "without a price per kWh, the hours alone are counted."
            )
    devices = list(dict.fromkeys(row["device"] for row in board.rows))
    if len(devices) == 1:
        yield f"Costs are medians over seeds, measured on {devices[0]}; they say nothing about other machines."
    else:
        yield f"Costs were measured on different devices ({'; '.join(devices)}): compare them only within one."
    kinds = sorted({row["peak_memory_kind"] for row in board.rows if row["peak_memory_kind"]})
    if kinds:
        yield f"Peak memory is that of training and evaluation ({' or '.join(kinds)} memory)."
    if any(noise.is_noisy(costs, key) for key in noise.TIMES):
        most = max(noise.load(cost, key) or 0.0 for cost in costs for key in noise.TIMES)
        yield f"{noise.LEGEND} Here others took up to {fixed(most, 0)} %."
    if any(noise.is_unknown(costs, key) for key in noise.TIMES):
        yield noise.UNKNOWN
