"""Protocols that break one rule of the contract each on purpose."""

from dataclasses import dataclass, replace

import numpy as np

from harness.metrics.counting import PairScores
from harness.metrics.sources import MatrixScores
from harness.protocols.base import Asked, Evaluation
from harness.protocols.folds import FoldProtocol

BROKEN: dict[str, list[type]] = {}


def breaks(rule):
    """Registers a double that the rule must catch."""

    def register(cls):
        BROKEN.setdefault(rule, []).append(cls)
        return cls

    return register


def made(cls):
    """The protocol of a double."""
    values = {"name": "double", "description": "a double"}
    return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Changes(FoldProtocol):
    """`full`, whose result is changed."""

    def ask(self, subject):
        asked = super().ask(subject)
        return Asked(asked.questions, lambda answers, ties: self.change(asked.evaluation(answers, ties), ties))


@breaks("described")
@dataclass(frozen=True, kw_only=True)
class SaysNothingOfItsQueries(FoldProtocol):
    queries: str = ""


@breaks("metrics")
class NotANumber(Changes):
    def change(self, found, ties):
        return replace(found, metrics={**found.metrics, "i2t_r1": float("nan")})


@breaks("metrics")
@dataclass(frozen=True, kw_only=True)
class HeadlineThatIsNotThere(FoldProtocol):
    headline: tuple = ("ndcg",)


@breaks("queries")
class NoQueryOfCaptions(Changes):
    def change(self, found, ties):
        names = [name for name in vars(found.ranks) if name.startswith("t2i")]
        return replace(found, ranks=replace(found.ranks, **{name: getattr(found.ranks, name)[:0] for name in names}))


@breaks("queries")
class IdsOfItsOwn(Changes):
    def change(self, found, ties):
        ids = np.arange(len(found.ranks.i2t_rank)).astype(str)
        return replace(found, ranks=replace(found.ranks, i2t_image_id=ids))


@breaks("queries")
class AsksTwice(Changes):
    def change(self, found, ties):
        names = [name for name in vars(found.ranks) if name.startswith("i2t")]
        doubled = {name: np.repeat(getattr(found.ranks, name), 2) for name in names}
        return replace(found, ranks=replace(found.ranks, **doubled))


@breaks("naive_ranks")
class CountsFromOne(Changes):
    def change(self, found, ties):
        above = np.minimum(found.ranks.i2t_rank + 1, len(found.ranks.t2i_rank) - 1)
        return replace(found, ranks=replace(found.ranks, i2t_rank=above))


@breaks("perfect")
class NeverQuiteHundred(Changes):
    def change(self, found, ties):
        return replace(found, metrics={**found.metrics, "t2i_r5": min(found.metrics["t2i_r5"], 99.0)})


@breaks("worst")
class EverybodyIsFirst(Changes):
    def change(self, found, ties):
        return replace(found, ranks=replace(found.ranks, t2i_rank=0 * found.ranks.t2i_rank))


@breaks("ties")
class TiesAlwaysWin(FoldProtocol):
    def ask(self, subject):
        asked = super().ask(subject)
        return Asked(asked.questions, lambda answers, ties: asked.evaluation(answers, "optimistic"))


@breaks("order_only")
class MeanScoreOfThePairs(FoldProtocol):
    def ask(self, subject):
        asked = super().ask(subject)
        owner = np.asarray(subject.caption_image)
        pairs = PairScores(owner, np.arange(len(owner)))

        def evaluation(answers, ties):
            found = asked.evaluation(answers[:1], ties)
            return Evaluation({**found.metrics, "mean": float(answers[1].mean())}, found.ranks)

        return Asked((*asked.questions, pairs), evaluation)


@breaks("deterministic")
class DrawsItsQueries(Changes):
    def change(self, found, ties):
        return replace(found, metrics={**found.metrics, "rsum": float(np.random.default_rng().random())})


@breaks("sources")
class NeedsTheMatrix(FoldProtocol):
    def evaluate(self, similarity, subject, ties="pessimistic"):
        if isinstance(similarity, MatrixScores):
            raise TypeError("no matrix")
        return super().evaluate(similarity, subject, ties)


@breaks("inputs_kept")
class ChangesTheScores(FoldProtocol):
    def evaluate(self, similarity, subject, ties="pessimistic"):
        found = super().evaluate(similarity, subject, ties)
        if isinstance(similarity, np.ndarray):
            similarity *= 2
        return found
