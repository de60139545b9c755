"""What a gate says: one line for a log, the same for GitHub, and all numbers as data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.errors import counted
from harness.reports.document.text import fixed, signed
from harness.reports.gate.sides import Side
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.noninferiority import NonInferiority, Outcome

HEADINGS: dict[Outcome, str] = {
    "non-inferior": "passed",
    "worse": "failed, worse",
    "not enough evidence": "failed, not enough evidence",
}


def verdict(a: Side, b: Side, found: NonInferiority) -> str:
    """The verdict in one line: the difference, its one-sided bounds, what was allowed, what is claimed."""
    if found.same_answers:
        return (
            f"{HEADINGS[found.outcome]}: {_named(a, 'A')} and {_named(b, 'B')} rank all queries alike in "
            f"{counted(found.seeds[0], 'seed')}: nothing changed."
        )
    digits, unit = decimals(found.metric), metric_name(found.metric)
    reach = {
        "non-inferior": f"at least {signed(found.lower, digits)}",
        "worse": f"at most {signed(found.upper, digits)}",
        "not enough evidence": f"at least {signed(found.lower, digits)}, at most {signed(found.upper, digits)}",
    }[found.outcome]
    ends = "each end " if found.outcome == "not enough evidence" else ""
    return (
        f"{HEADINGS[found.outcome]}: {_named(a, 'A')} minus {_named(b, 'B')} is {signed(found.difference, digits)} {unit}, "
        f"{reach} ({ends}one-sided, {100 * found.confidence:g} % confidence), and {signed(found.min_delta, digits)} is allowed; "
        f"{counted(found.images, 'image')}{_where(a, b)}, {_scope(found)}"
    )


def advice(found: NonInferiority) -> str:
    """How often a method as good as the baseline passes a gate that was not passed for want of evidence; else empty."""
    if found.outcome != "not enough evidence":
        return ""
    if found.pass_if_equal is None:
        return "A margin of 0 or more asks A to be better: an A as good as B hardly ever passes."
    if found.pass_if_equal >= 0.8:
        return ""
    digits, unit = decimals(found.metric), metric_name(found.metric)
    other = f"about {found.images_needed:,.0f} images" if found.images_needed < 1e7 else "more seeds"
    return (
        f"An A as good as B would pass this gate in {100 * found.pass_if_equal:.0f} % of cases; 80 % takes a margin of "
        f"{signed(-found.detectable, digits)} {unit}, or {other}."
    )


def numbers(a: Side, b: Side, found: NonInferiority) -> dict[str, Any]:
    """Everything as data; what is infinite is null."""
    values = asdict(found)
    split = values.pop("variance")
    needed = found.images_needed
    return {
        "passed": found.outcome == "non-inferior",
        "outcome": found.outcome,
        "verdict": verdict(a, b, found),
        "advice": advice(found),
        **values,
        "images_needed": needed if needed < float("inf") else None,
        "se": found.variance.se,
        "df": found.variance.df,
        "variance_images": split["images"],
        "variance_seeds": list(split["seeds"]),
        "a": _about(a),
        "b": _about(b),
    }


def github_line(outcome: Outcome, line: str) -> str:
    """A workflow command of GitHub Actions that shows the verdict beside the job.

    >>> github_line("worse", "50 % of\\nit")
    '::error title=itm gate::50 %25 of%0Ait'
    """
    escaped = line.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{'notice' if outcome == 'non-inferior' else 'error'} title=itm gate::{escaped}"


def summary(a: Side, b: Side, found: NonInferiority) -> str:
    """Markdown for the summary of a job on GitHub."""
    digits = decimals(found.metric)
    cells = [
        ("A", f"`{_code(a)}`: {fixed(found.a_score, digits)}"),
        ("B", f"`{_code(b)}`: {fixed(found.b_score, digits)}"),
        ("A minus B", signed(found.difference, digits)),
        (
            f"one-sided {100 * found.confidence:g} % bounds",
            f"{signed(found.lower, digits)}, {signed(found.upper, digits)}",
        ),
        ("allowed", signed(found.min_delta, digits)),
        ("images", f"{found.images:,}"),
        ("seeds", f"{found.seeds[0]} and {found.seeds[1]}"),
        ("claim", found.claim),
    ]
    rows = "\n".join(f"| {name} | {value} |" for name, value in cells)
    said = " ".join(filter(None, (advice(found),)))
    return (
        f"### itm gate: {HEADINGS[found.outcome]}\n\n| {metric_name(found.metric)} | |\n|---|---|\n{rows}\n\n{said}\n"
    )


def _code(side: Side) -> str:
    """Untrusted text in a cell of code."""
    return f"{side.source} ({side.runs.name})".replace("`", "'").replace("|", "/").replace("\n", " ")


def _named(side: Side, letter: str) -> str:
    return f"{letter} '{side.runs.name}'"


def _where(a: Side, b: Side) -> str:
    known = a if a.dataset else b
    return f" of {known.dataset}, {known.protocol}" if known.dataset else ""


def _scope(found: NonInferiority) -> str:
    a, b = found.seeds
    seeds = f"{counted(a, 'seed')} each" if a == b else f"{a} and {b} seeds"
    if found.claim == "method":
        return f"claim: the methods retrained, {seeds}."
    more = " Three seeds of both would carry a claim about the methods." if min(a, b) < 3 else ""
    return f"claim: these trained models only, {seeds}.{more}"


def _about(side: Side) -> dict[str, Any]:
    return {
        "source": side.source,
        "method": side.runs.name,
        "seeds": list(side.runs.seeds),
        "dataset": side.dataset,
        "protocol": side.protocol,
        "gallery": side.gallery,
        "files": [{"file": file, "sha256": digest} for file, digest in side.files],
        "remarks": list(side.remarks),
    }
