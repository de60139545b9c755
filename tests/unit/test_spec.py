"""Specifications: resolution, overrides, ids, and the message for every mistake."""

from __future__ import annotations

import pytest

from harness.errors import InvalidSpec, UnknownName
from harness.spec import Component, Experiment, RunSpec, TrainingSpec, build, builtin_experiments, load_experiment

MINIMAL = {
    "name": "e",
    "seeds": 3,
    "dataset": "scenes",
    "scorers": ["scan", {"name": "chan", "config": {"coding": "tha"}}],
}


def _run(**changes) -> RunSpec:
    values = {
        "scorer": "scan",
        "config": {"pooling": "lse"},
        "image": "regions",
        "text": {"name": "bigru", "width": 8},
        "dataset": {"name": "karpathy", "root": "/data/a"},
        "data_sha256": "1" * 64,
        "protocols": ["full"],
        "seed": 0,
        "training": {},
    }
    return build(RunSpec, {**values, **changes}, "run")


def test_the_run_id_names_everything_that_decides_the_numbers():
    base = _run()
    assert base.run_id == _run().run_id
    changes = [
        {"seed": 1},
        {"config": {"pooling": "mean"}},
        {"data_sha256": "2" * 64},
        {"training": {"epochs": 1}},
        {"text": {"name": "bigru", "width": 9}},
        {"protocols": ["full", "coco_1k"]},
        {"plugin_sha256": "3" * 64},
    ]
    assert len({base.run_id, *(_run(**change).run_id for change in changes)}) == len(changes) + 1


def test_moving_the_data_keeps_the_run():
    assert _run(dataset={"name": "karpathy", "root": "/data/b"}).run_id == _run().run_id


def test_component_shorthand_and_round_trip():
    component = Component.model_validate({"name": "patches", "width": 64})
    assert component.options == {"width": 64}
    assert component.model_dump() == {"name": "patches", "width": 64}
    assert Component.model_validate(component.model_dump()) == component
    assert Component.model_validate("regions") == Component(name="regions")


def test_overrides():
    spec = load_experiment(
        MINIMAL,
        [
            "training.epochs=3",
            "seeds=2",
            "dataset.clutter=high",
            "scorers.chan.config.coding=vha",
            "scorers.scan.training.margin=0.1",
        ],
    )
    assert spec.training == {"epochs": 3}
    assert spec.seeds == (0, 1)
    assert spec.dataset == Component(name="scenes", options={"clutter": "high"})
    assert [(e.key, e.config, e.training) for e in spec.scorers] == [
        ("scan", {}, {"margin": 0.1}),
        ("chan", {"coding": "vha"}, {}),
    ]


def test_an_entry_whose_key_holds_a_dot_can_be_overridden():
    spec = load_experiment({**MINIMAL, "scorers": ["scan.t2i_avg"]}, ["scorers.scan.t2i_avg.config.pooling=sum"])
    assert spec.scorers[0].config == {"pooling": "sum"}


def test_one_scorer_twice_needs_two_keys():
    entries = [{"name": "scan", "key": "a"}, {"name": "scan", "key": "b"}]
    assert len(load_experiment({**MINIMAL, "scorers": entries}).scorers) == 2
    with pytest.raises(InvalidSpec, match="scan appear twice"):
        load_experiment({**MINIMAL, "scorers": ["scan", "scan"]})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainign.epochs=3", r"unknown key 'trainign'; did you mean 'training'\?"),
        ("seeds=[]", "seeds is empty"),
        ("seeds=[1, 1]", "repeat"),
        ("seeds=abc", "'seeds'"),
        ("training", "takes key=value"),
        ("name.x=1", "'name'"),
        ("seeds.x=1", "which has no keys below it"),
        ("dataset={", "not valid YAML"),
        ("evaluation.ties=random", "'evaluation.ties'"),
        ("evaluation.tie=expected", "did you mean 'ties'"),
        ("scorers.chan.confg.coding=tha", "did you mean 'config'"),
        ("name=../x", "'name'"),
    ],
)
def test_mistakes_in_an_override(override, message):
    with pytest.raises(InvalidSpec, match=message):
        load_experiment(MINIMAL, [override])


def test_an_unknown_scorer_entry_in_an_override():
    with pytest.raises(UnknownName, match="did you mean 'chan'"):
        load_experiment(MINIMAL, ["scorers.chn.config.coding=tha"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "must hold a mapping"),
        ("name: e", "key 'dataset' is missing"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, message):
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSpec, match=message):
        load_experiment(path)


def test_missing_experiments():
    with pytest.raises(UnknownName, match="did you mean 'quickstart'"):
        load_experiment("quickstrat")
    with pytest.raises(InvalidSpec, match="cannot read"):
        load_experiment("nowhere.yaml")


def test_training_settings_have_ranges():
    with pytest.raises(InvalidSpec, match=r"'batch_size'.*got 1"):
        build(TrainingSpec, {"batch_size": 1}, "training")
    with pytest.raises(InvalidSpec, match="did you mean 'learning_rate'"):
        build(TrainingSpec, {"learningrate": 1}, "training")


@pytest.mark.parametrize("name", sorted(builtin_experiments()))
def test_builtin_experiments_are_valid(name):
    overrides = ["dataset.root=."] if name != "quickstart" else []
    assert isinstance(load_experiment(name, overrides), Experiment)
