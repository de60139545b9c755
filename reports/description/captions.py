"""Problems of the captions."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import counted
from harness.records.description import Description, Limit, SplitFacts
from harness.reports.description.found import MANY, Found, Level, Look, by_split, largest_share
from harness.reports.document.text import listed, shortened

_MIXED_UP = 0.1  # share of a split's captions that training captions repeat, from which files seem to be mixed up
_TIES = 99.9  # percent: a bound below it costs a method a tenth of a point
_UNKNOWN = 5.0  # percent of the training words that a vocabulary lacks, from which it seems to be of other data
_EXAMPLE = 60
#: Scripts whose words no space separates.
_UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"}
#: Kinds of oddities that say nothing bad of a caption.
_HARMLESS = ("non-ASCII characters", "web addresses")


def _total(split: SplitFacts) -> int:
    return split.captions.number


def order(facts: Description) -> Iterator[Found]:
    """Captions that are shifted against the images."""
    for split in facts.splits:
        found = split.captions.order
        if found is not None and found.shift:
            told = (
                f"captions seem to be shifted against the images: their subject changes {counted(found.shift, 'caption')} "
                "after each boundary between images (a line was lost or added)"
            )
            yield Found("error", told, (split.name,))


def limits(facts: Description) -> Iterator[Found]:
    """Captions that text encoders cut, or of which they know nothing."""
    for number, limit in enumerate(facts.splits[0].captions.limits):

        def of(split: SplitFacts, place: int = number) -> Limit:
            return split.captions.limits[place]

        if cut := by_split(facts, lambda split: of(split).cut, _total):
            share = largest_share(facts, lambda split: of(split).cut, _total)
            level: Level = "error" if share > 0.5 else "warning" if share > MANY else "note"
            yield Found(level, f"captions longer than the {limit.longest} tokens of {limit.text}, ends unread: {cut}")
        if unknown := by_split(facts, lambda split: of(split).unknown, _total):
            yield Found("warning", f"captions in which {limit.text} knows no word: {unknown}")


def oddities(facts: Description) -> Iterator[Found]:
    """Tags, entities and other things that no caption should hold."""
    kinds = dict.fromkeys(odd.kind for split in facts.splits for odd in split.captions.oddities)
    for kind in kinds:

        def of(split: SplitFacts, kind: str = kind) -> int:
            return sum(odd.captions for odd in split.captions.oddities if odd.kind == kind)

        share = largest_share(facts, of, _total)
        level: Level = "note" if kind in _HARMLESS else "error" if share > MANY else "warning"
        odd = next(odd for split in facts.splits for odd in split.captions.oddities if odd.kind == kind)
        yield Found(
            level, f"captions with {kind}: {by_split(facts, of, _total)} ({shortened(odd.examples[0], _EXAMPLE)})"
        )

    def unspaced(split: SplitFacts) -> int:
        return max((n for script, n in split.captions.scripts.items() if script in _UNSPACED), default=0)

    if largest_share(facts, unspaced, _total) > MANY:
        told = by_split(facts, unspaced, _total)
        yield Found(
            "warning",
            f"captions in a script without spaces, which backbones that learn words (bigru) take for one word: {told}",
        )


def blanks(facts: Description) -> Iterator[Found]:
    """Captions without text."""
    if told := by_split(facts, lambda split: split.captions.blank, _total):
        yield Found("warning", f"blank captions, by which nothing can be found: {told}")


def ties(facts: Description) -> Iterator[Found]:
    """Equal captions, and the recall that they cost."""
    for split in facts.splits:
        rows, bound = split.captions.exact, split.captions.exact.bound
        lowest = min(bound.i2t_pessimistic_percent, bound.t2i_pessimistic_percent)
        if split.name == "train" or lowest == 100:
            continue
        why = f"{rows.sharing_images:,} of {split.images:,} images share a caption word for word"
        ways = [
            f"{worst:.2f} % {direction} ({chance:.2f} % with ties in random order)"
            for direction, worst, chance in (
                ("image to text", bound.i2t_pessimistic_percent, bound.i2t_expected_percent),
                ("text to image", bound.t2i_pessimistic_percent, bound.t2i_expected_percent),
            )
            if worst < 100
        ]
        told = f"{why if rows.sharing_images else 'equal images tie'}: no R@1 can exceed {listed(ways)}"
        yield Found("warning" if lowest < _TIES else "note", told, (split.name,))


def mixed_up(facts: Description) -> Iterator[Found]:
    """Captions of other splits that training captions repeat."""

    def of(split: SplitFacts) -> int:
        return split.captions.also_in_train or 0

    if told := by_split(facts, of, _total):
        if largest_share(facts, of, _total) > _MIXED_UP:
            yield Found("error", f"captions that train has, too, so many that files seem to be mixed up: {told}")
        else:
            yield Found("note", f"captions that train has, too: {told}")


def vocabulary(facts: Description) -> Iterator[Found]:
    """A vocabulary that was not counted in the training captions, and words that these lack."""
    given = facts.vocabulary
    if given is not None and given.only_elsewhere:
        told = (
            f"{given.file} holds {counted(given.only_elsewhere, 'word')} that validation or test captions have and training "
            "captions lack: it was made with them; dataset.vocabulary=none counts the training captions alone"
        )
        yield Found("warning", told)
    if given is not None and given.unknown_occurrences_percent > _UNKNOWN:
        told = f"{given.file} lacks {given.unknown_occurrences_percent:.1f} % of the words in training captions"
        yield Found("warning", f"{told}, which become <unk>: it may be of other data")

    def of(split: SplitFacts) -> int:
        return split.captions.new_words.captions if split.captions.new_words is not None else 0

    if told := by_split(facts, of, _total):
        yield Found("note", f"captions with a word that no training caption has: {told}")


def counts(facts: Description) -> Iterator[Found]:
    """Images that differ in their number of captions."""
    for split in facts.splits:
        if len(split.captions.per_image) > 1:
            spread = ", ".join(f"{images:,} with {each}" for each, images in list(split.captions.per_image.items())[:4])
            told = f"numbers of captions differ ({spread}): code that pairs caption k with image k // 5 is wrong here"
            yield Found("warning", told, (split.name,))


def decided(facts: Description) -> Iterator[Found]:
    """What the layout's reader took, left out or changed."""
    for line in facts.decided:
        yield Found("note", f"while reading: {line}")


LOOKS: tuple[Look, ...] = (order, limits, oddities, mixed_up, blanks, ties, vocabulary, counts, decided)
