"""The contract suite on every registered scorer and variant, and on doubles that break one rule each on purpose."""

import pytest
import torch
from aligning import Aligns, AlignsByAWeightOutsideItsState, AttendsToThePadding
from doubles import (
    BROKEN,
    DeclaresAReadingThatItDoesNotGive,
    DetachesTheImages,
    DropsWordsInPlaceWhileTraining,
    Good,
    GoodWithLevels,
    KeepsAWeightOutsideItsState,
    KeepsItsOwnMaskAsAnExtra,
    LevelsDoNotAddUp,
    LossOfEachPair,
    ReadsInfinity,
    RootOfZero,
    ShiftsAtEachPreparation,
    UnusedParameter,
)

from harness import conformance as contract
from harness import registry
from harness.errors import InvalidPlugin, UnknownName
from harness.scorer import Scorer

RULES = list(contract.RULES)


@pytest.mark.parametrize("name", contract.subjects())
def test_every_scorer_keeps_the_contract(name):
    results = contract.run_contract(name)
    assert [result.name for result in results] == RULES
    assert [f"{result.name}: {result.detail}" for result in results if not result.passed] == []


@pytest.mark.parametrize("kind", [Good, GoodWithLevels, Aligns])
def test_a_scorer_that_keeps_every_rule_passes(kind):
    assert contract.run_checks(kind) == [contract.CheckResult(rule, True) for rule in RULES]


@pytest.mark.parametrize(
    ("rule", "double"),
    [pytest.param(rule, cls, id=f"{rule}-{cls.__name__}") for rule in BROKEN for cls in BROKEN[rule]],
)
def test_a_broken_rule_is_caught_and_explained(rule, double):
    found = {result.name: result for result in contract.run_checks(double)}
    assert not found[rule].passed
    assert ("expected" in found[rule].detail and "found" in found[rule].detail) or "raised" in found[rule].detail
    assert "\n" not in found[rule].detail


def test_every_rule_has_a_double_that_breaks_it():
    assert sorted(BROKEN) == sorted(RULES)


@pytest.mark.parametrize(
    ("rule", "double"),
    [
        ("gradients", UnusedParameter),
        ("gradients", RootOfZero),
        ("gradients", DetachesTheImages),
        ("gradients", LossOfEachPair),
        ("inputs_kept", DropsWordsInPlaceWhileTraining),
        ("state_dict", KeepsAWeightOutsideItsState),
        ("prepared_once", ShiftsAtEachPreparation),
        ("batches", KeepsItsOwnMaskAsAnExtra),
        ("levels", LevelsDoNotAddUp),
        ("readings", DeclaresAReadingThatItDoesNotGive),
        ("readings", ReadsInfinity),
        ("alignment", AttendsToThePadding),
        ("alignment", AlignsByAWeightOutsideItsState),
    ],
)
def test_a_double_fails_where_it_is_broken_and_nowhere_else(rule, double):
    assert [result.name for result in contract.run_checks(double) if not result.passed] == [rule]


def test_a_scorer_that_raises_fails_with_what_it_raised():
    class Raises(Scorer):
        def score(self, images, texts):
            raise RuntimeError("of no\nuse")

    assert {(r.passed, r.detail) for r in contract.run_checks(Raises)} == {(False, "raised RuntimeError: of no use")}


def test_checking_leaves_global_state_alone():
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    contract.run_checks(Good)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads


# By name ------------------------------------------------------------------------------------------------------------

PLUGIN = """
import torch
from harness.scorer import Scorer

class Means(Scorer):
    variants = {"same": {}}

    def score(self, images, texts):
        sides = [(s.features * s.mask[..., None]).sum(1) / s.lengths[:, None] for s in (images, texts)]
        return {result}
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes a plug-in file and registers it for one test."""
    monkeypatch.setattr("harness.plugins.registered.registered", {})

    def write(name, result):
        path = tmp_path / f"{name}.py"
        path.write_text(PLUGIN.replace("{result}", result))
        return registry.add_plugin(path)

    return write


def test_a_plugin_is_checked_by_name_with_its_variants(plugin):
    name = plugin("contract_means", "sides[0] @ sides[1].T")
    assert {name, f"{name}.same"} <= set(contract.subjects())
    assert all(result.passed for result in contract.run_contract(f"{name}.same"))


def test_a_plugin_that_returns_nan_is_caught_by_name(plugin):
    name = plugin("contract_nan", "sides[0] @ sides[1].T * torch.nan")
    finite = next(result for result in contract.run_contract(name) if result.name == "finite")
    assert (
        finite.detail == "expected scores of random fragments to be finite, found 30 of 30 that are not, nan at [0, 0]"
    )


def test_what_is_not_a_scorer_is_refused_and_not_checked(plugin):
    with pytest.raises(UnknownName, match="did you mean 'scan'"):
        contract.run_contract("scam")
    with pytest.raises(UnknownName, match="variant of scan"):
        contract.run_contract("scan.t2i_median")
    with pytest.raises(InvalidPlugin):
        plugin("contract_broken", "(")
