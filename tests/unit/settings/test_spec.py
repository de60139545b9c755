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
        {"source_sha256": "3" * 64},
        {"threads": 2},
        {"evaluation": {"ties": "expected"}},
        {"files_sha256": {"text.vectors": "4" * 64}},
    ]
    assert len({base.run_id, *(_run(**change).run_id for change in changes)}) == len(changes) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"variant": "t2i_lse"},
        {"evaluation": {"save_scores": True, "cost_repeats": 9, "diagnostics": False}},
        {"dataset": {"name": "karpathy", "root": "/data/b"}},
        {"dataset": {"name": "karpathy", "root": "/data/a", "validation": "all"}},  # whose rows the data's hash covers
        {"tuning": {"trials": 12}},
        {"plugin_sha256": "5" * 64},
    ],
)
def test_what_decides_no_number_is_no_part_of_the_run_id(change):
    assert _run(**change).run_id == _run().run_id


def test_where_a_file_lies_does_not_count_but_its_content_does():
    def run(path, content):
        return _run(image={"name": "patches", "pretrained": path}, files_sha256={"image.pretrained": content})

    assert run("/a.pth", "1").run_id == run("/b.pth", "1").run_id
    assert run("/a.pth", "1").run_id != run("/a.pth", "2").run_id


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


TUNED = {
    **MINIMAL,
    "scorers": [
        {"name": "scan", "training": {"temperature": 0.03}},
        {"name": "chan", "training": {"temperature": 0.3, "epochs": 12}, "config": {"coding": "tha"}},
        {"key": "wide", "name": "grm", "image": {"name": "regions", "width": 64}},
    ],
}


def test_selecting_entries_keeps_their_settings():
    whole = {entry.key: entry for entry in load_experiment(TUNED).scorers}
    for text, keys in [
        ("scorers=[chan, scan]", ["chan", "scan"]),
        ("scorers=chan", ["chan"]),
        ("scorers=[wide]", ["wide"]),
        ("scorers={scan: null}", ["scan"]),
    ]:
        chosen = load_experiment(TUNED, [text]).scorers
        assert [entry.key for entry in chosen] == keys
        assert all(entry == whole[entry.key] for entry in chosen)


def test_settings_in_a_selection_come_on_top():
    (chan,) = load_experiment(TUNED, ["scorers={chan: {training: {epochs: 3}}}"]).scorers
    assert (chan.training, chan.config) == ({"temperature": 0.3, "epochs": 3}, {"coding": "tha"})
    (named,) = load_experiment(TUNED, ["scorers=[{name: chan, training: {epochs: 3}}]"]).scorers
    assert named == chan


def test_a_variant_takes_over_its_entry_and_a_new_name_is_said(caplog):
    with caplog.at_level("INFO", "harness"):
        variant, new = load_experiment(TUNED, ["scorers=[chan.bert, vsepp]"]).scorers
    assert (variant.name, variant.key, variant.training) == (
        "chan.bert",
        "chan.bert",
        {"temperature": 0.3, "epochs": 12},
    )
    assert (new.name, new.training) == ("vsepp", {})
    said = [record.getMessage() for record in caplog.records]
    assert any("'chan.bert' takes over the settings of entry 'chan'" in line for line in said)
    assert any("'vsepp' is not an entry" in line for line in said)


def test_dotted_keys_of_a_sweep_can_be_set():
    spec = load_experiment(
        TUNED,
        [
            "sweep.space.training.margin={low: 0.1, high: 0.3}",
            "sweep.space.training.learning_rate.high=3.0e-3",
            "sweep.scorers.chan.config.temperature.low=0.05",
            "sweep.seeds=2",
        ],
    )
    assert spec.sweep.model_dump(exclude_unset=True) == {
        "space": {"training.margin": {"low": 0.1, "high": 0.3}, "training.learning_rate": {"high": 0.003}},
        "scorers": {"chan": {"config.temperature": {"low": 0.05}}},
        "seeds": 2,
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds=true", "seeds are a number"),
        ("seeds=yes", "seeds are a number"),
        ("seeds=1.0", "seeds are a number"),
        ("seeds=1001", "between 1 and 1,000"),
        ("seeds=-1", "between 1 and 1,000"),
        ("seeds=[true]", "a seed is a whole number"),
        ("seeds=[-1]", "a seed is a whole number"),
        ("seeds=[4294967296]", "a seed is a whole number"),
        ("seeds=['1']", "a seed is a whole number"),
        ("protocols=[full, full]", "repeat"),
        ("threads=0", "threads"),
        ("threads=true", "must be a number"),
        ("evaluation.batch_size='8'", "must be a number"),
        ("evaluation.save_scores=3", "save_scores"),
        ("scorers={scan: hello}", "must be a mapping of settings"),
        ("scorers=[[scan]]", "a name or a mapping"),
        ("scorers={}", "scorers is empty"),
        ("scorers=[scan, scan]", "appear twice"),
    ],
)
def test_values_that_only_look_right(override, message):
    with pytest.raises(InvalidSpec, match=message):
        load_experiment(MINIMAL, [override])


def test_seeds_at_their_bounds():
    assert load_experiment(MINIMAL, ["seeds=[0, 4294967295]"]).seeds == (0, 4294967295)
    assert len(load_experiment(MINIMAL, ["seeds=1000"]).seeds) == 1000


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
