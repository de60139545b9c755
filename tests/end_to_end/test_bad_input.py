"""Bad input, over every command: one clear line, exit code 2, no traceback, nothing lost, nothing written elsewhere.

`CASES` reads as: what is typed, and a part of the line that must come back. `{...}` are files and folders of `world`,
which holds a results folder with two finished runs and every kind of file that a user may hand over by mistake.
"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any

import pytest
from bad_files import write_all

from harness import registry
from harness.cli.main import COMMANDS, main
from harness.records.store import RunStore


def case(line: str, message: str, code: int = 2) -> Any:
    return pytest.param(line, message, code, id=f"{line[:70]}")


def settings(*pairs: tuple[str, str]) -> list[Any]:
    """Cases of `itm leaderboard` with one override each."""
    quoted = [(shlex.quote(setting).replace("{", "{{").replace("}", "}}"), message) for setting, message in pairs]
    return [case(f"leaderboard {{tiny}} --set {setting}", message) for setting, message in quoted]


CASES = [
    # The command itself
    case("leadrboard x", "did you mean 'leaderboard'"),
    case("leaderboard", "EXP"),
    case("leaderboard {tiny} --sett a=1", "--sett"),
    case("leaderboard {tiny} extra", "extra"),
    case("ls scorer", "scorer"),
    case("ls", "scorers"),
    case("leaderboard {tiny} --columns rsun", "did you mean 'rsum'"),
    case("report {results} --columns scorer,nothing", "unknown column of the LaTeX tables 'nothing'"),
    # Experiment files
    case("leaderboard nowhere", "unknown experiment 'nowhere'"),
    case("leaderboard nowhere.yaml", "nowhere.yaml"),
    case("leaderboard quickstrat", "did you mean 'quickstart'"),
    case("leaderboard {folder}", "folder"),
    *[case(f"leaderboard {{{name}}}", "") for name in ("page", "noise", "pointer", "archive", "scores", "weights")],
    case("leaderboard {duplicate_key}", "scorers"),
    case("leaderboard {nested_duplicate}", "a"),
    case("leaderboard {no_mapping}", "mapping"),
    case("leaderboard {nothing}", "mapping"),
    case("leaderboard {comment_only}", "mapping"),
    case("leaderboard {unclosed}", "YAML"),
    case("leaderboard {tab}", "YAML"),
    case("leaderboard {two_documents}", "document"),
    case("leaderboard {python_tag}", ""),
    case("leaderboard {self_reference}", ""),
    case("leaderboard {bomb}", ""),
    case("leaderboard {deep}", ""),
    case("leaderboard {huge_number}", "5,000 characters (line"),
    case("leaderboard {number_key}", "1"),
    case("leaderboard {yes_seed}", "seeds"),
    case("leaderboard {no_name}", "'name' is missing"),
    case("leaderboard {no_dataset}", "'dataset' is missing"),
    case("leaderboard {no_scorers}", "'scorers' is missing"),
    case("leaderboard {path_name}", "name"),
    case("leaderboard {typo}", "did you mean 'training'"),
    # Features of pretrained towers
    case("features {folder}", "no tower is named; give --image or --text"),
    case("features {folder} --image patches", "layout"),
    case("features nowhere --text bigru", "nowhere is neither a folder, nor a dataset or experiment"),
    case("features /nowhere --text bigru", "/nowhere is neither a folder, nor a dataset or experiment"),
    case("features {tiny}", "backbone 'regions' has no pretrained tower"),
    case("features {tiny} --image '{{name: patches'", "--image"),
    case("features {tiny} --image '{{name: pathces}}'", "did you mean 'patches'"),
    case("features {tiny} --image patches --dtype float8", "float8"),
    case("features {tiny} --text bigru --precomp out", "--precomp writes the features of images"),
    # Overrides
    *settings(
        ("features.dtype=float8", "'float16' or 'float32'"),
        ("features.stroe=false", "did you mean 'store'"),
        ("epochs", "key=value"),
        ("=3", "key=value"),
        ("training.epochs=[", "YAML"),
        ("training..epochs=3", "training"),
        ("name.x=1", "name"),
        ("scorers.grm.config.regions=3", "grm"),
        ("name=a/b", "name"),
        ("name=..", "name"),
        ("name=", "name"),
        ("seeds=-1", "seeds"),
        ("seeds=[-1]", "seed"),
        ("seeds=[18446744073709551616]", "seed"),
        ("seeds=1000000000000", "seeds"),
        ("seeds=[0, 0]", "repeat"),
        ("seeds=[]", "seeds"),
        ("seeds=0", "seeds"),
        ("seeds=1.5", "seeds"),
        ("seeds=[a]", "seeds"),
        ("seeds=.nan", "seeds"),
        ("seeds=true", "seeds"),
        ("scorers=[]", "scorers"),
        ("scorers={}", "scorers"),
        ("scorers={scan: hello}", "scan"),
        ("scorers=3", "scorers"),
        ("scorers=[3]", "scorers"),
        ("scorers=[scan, scan]", "scan"),
        ("scorers=[scam]", "did you mean 'scan'"),
        ("scorers=[scan.nothing]", "unknown variant"),
        ("scorers.scan.config.poling=lse", "did you mean 'pooling'"),
        ("scorers.scan.config.pooling=median", "pooling"),
        ("scorers.scan.config.inverse_temperature=-1", "inverse_temperature"),
        ("scorers.scan.config.inverse_temperature=.inf", "inverse_temperature"),
        ("scorers.scan.config=3", "config"),
        ("scorers.scan.training.epoch=1", "did you mean 'epochs'"),
        ("scorers.scan.image=pathces", "did you mean 'patches'"),
        ("scorers.scan.weights=nowhere.safetensors", "nowhere.safetensors"),
        ("image=pathces", "did you mean 'patches'"),
        ("image.widht=8", "did you mean 'width'"),
        ("image.width=0", "width"),
        ("text=bigrue", "did you mean 'bigru'"),
        ("text.width=-4", "width"),
        ("training.epoch=1", "did you mean 'epochs'"),
        ("training.epochs=-1", "epochs"),
        ("training.epochs=two", "epochs"),
        ("training.batch_size=1", "batch_size"),
        ("training.learning_rate=0", "learning_rate"),
        ("training.learning_rate=.nan", "learning_rate"),
        ("training.learning_rate=fast", "learning_rate"),
        ("training.decay_factor=2", "decay_factor"),
        ("training.optimizer=sgdd", "optimizer"),
        ("training=3", "training"),
        ("evaluation.ties=random", "ties"),
        ("evaluation.cost_repeats=0", "cost_repeats"),
        ("protocols=[fulll]", "did you mean 'full'"),
        ("protocols=[full, full]", "full"),
        ("protocols=[]", "protocols"),
        ("protocols=[coco_1k]", "5,000"),
        ("protocols=full", "protocols"),
        ("dataset=scenery", "did you mean 'scenes'"),
        ("dataset.cluter=low", "did you mean 'clutter'"),
        ("dataset.train_images=1", "train"),
        ("dataset.test_images=0", "test_images"),
        ("dataset.name=3", "name"),
        ("dataset=[scenes]", "dataset"),
    ),
    # Datasets on disk
    *settings(
        ("dataset={name: karpathy}", "root"),
        ("dataset={name: karpathy, root: /nowhere}", "/nowhere"),
        ("dataset={name: karpathy, root: ''}", "root"),
        ("dataset={name: auto}", "needs the key root"),
        ("dataset={root: /nowhere}", "/nowhere does not exist"),
        ("dataset={root: 3}", "root"),
        ("dataset=/nowhere", "unknown dataset '/nowhere'"),
    ),
    case("leaderboard {tiny} --set 'dataset={{root: {folder}}}'", "is of no known layout"),
    case("leaderboard {tiny} --set dataset={folder}", "is of no known layout"),
    case("leaderboard {tiny} --set 'dataset={{root: {table}}}'", "is not a folder"),
    case("leaderboard {tiny} --set 'dataset={{root: {k_two}}}'", "dataset_a.json"),
    case("leaderboard {tiny} --set 'dataset={{root: {p_good}, restval: true}}'", "unknown key 'restval'"),
    case("leaderboard {tiny} --set 'dataset={{name: karpathy, root: {p_good}}}'", "dataset.name=precomp reads it"),
    *[
        case(f"leaderboard {{tiny}} --set 'dataset={{{{name: {name}, root: {{folder}}}}}}'", message)
        for name, message in {
            "laps": "id_mapping.json",
            "blip": "<prefix>_<split>.json",
            "clip_benchmark": "<name>_<split>_karpathy.txt",
        }.items()
    ],
    case("evaluate {scores} --dataset {folder}", "is of no known layout"),
    case("evaluate {scores} --dataset karpathy --set root={k_two} --set options=3", "set its options one by one"),
    *[
        case(
            f"leaderboard {{tiny}} --set image=patches --set 'dataset={{{{name: karpathy, root: {{{name}}}}}}}'",
            message,
        )
        for name, message in {
            "table": "is not a folder",
            "folder": "dataset_*.json",
            "k_two": "dataset_a.json",
            "k_text": "JSON",
            "k_list": "JSON object",
            "k_split": "split",
            "k_escape": "..",
            "k_missing": "missing",
            "k_page": "img.png",
            "k_no_captions": "caption",
            "k_no_train": "train",
            "k_twice": "more than once",
        }.items()
    ],
    *[
        case(f"leaderboard {{tiny}} --set 'dataset={{{{name: precomp, root: {{{name}}}}}}}'", message)
        for name, message in {
            "folder": "test_ims.npy",
            "p_objects": "train_ims.npy",
            "p_text": "train_ims.npy",
            "p_cut": "train_ims.npy",
            "p_nan": "NaN",
            "p_counts": "captions",
            "p_latin": "UTF-8",
            "p_widths": "width",
            "p_ids": "ids",
            "p_vocabulary": "word2idx",
        }.items()
    ],
    case("leaderboard {tiny} --set 'dataset={{name: precomp, root: {p_good}, name: x, title: 3}}'", ""),
    case("leaderboard {tiny} --set 'dataset={{name: precomp, root: {p_good}, vocabulary: ../x.json}}'", "x.json"),
    case("leaderboard {tiny} --set image=patches --set 'dataset={{name: precomp, root: {p_good}}}'", "image backbone"),
    # Results, devices, plug-ins
    case("leaderboard {tiny} --results {table}", ""),
    case("leaderboard {tiny} --results {table}/x", "results folder"),
    case("leaderboard {tiny} --results ''", "results"),
    case("leaderboard {tiny} --device tpu9", "device 'tpu9'"),
    case("leaderboard {tiny} --device cuda:99", "cuda:99"),
    case("leaderboard {tiny} --plugin nowhere.py", "nowhere.py"),
    case("leaderboard {tiny} --plugin {folder}", "not a Python file"),
    case("leaderboard {tiny} --plugin {page}", "not a Python file"),
    *[
        case(f"leaderboard {{tiny}} --plugin {{plugin_{name}}} --set scorers=[plugin_{name}]", message)
        for name, message in {
            "exits": "exit",
            "raises": "boom",
            "syntax": "line 1",
            "imports": "no_such_module",
            "nothing": "0 public Scorer",
            "several": "2 public Scorer",
        }.items()
    ],
    case("leaderboard {tiny} --plugin {scan_file}", "claimed twice"),
    case("leaderboard {tiny} --tuned", "sweep"),
    # Ablations
    case("ablate {tiny}", "--scorer"),
    case("ablate {tiny} --scorer scam", "did you mean 'scan'"),
    case("ablate nowhere --scorer scan", "nowhere"),
    case("ablate {tiny} --scorer scan --plan some", "some"),
    case("ablate {tiny} --scorer scan --variants nothing", "nothing"),
    case("ablate {tiny} --scorer scan --variants ''", "unknown variant of scan ''"),
    case("ablate {tiny} --scorer plain --plugin {plain}", "variants"),
    case("ablate {duplicate_key} --scorer scan", "scorers"),
    # Sweeps
    case("sweep {tiny} --scorer scan", "--trials"),
    case("sweep {tiny} --trials 1", "--scorer"),
    case("sweep {tiny} --scorer scan --trials 0", "--trials"),
    case("sweep {tiny} --scorer scan --trials many", "many"),
    case("sweep {tiny} --scorer scam --trials 1", "did you mean 'scan'"),
    case("sweep {tiny} --scorer scan --trials 1 --workers 0", "--workers"),
    case("sweep {tiny} --scorer scan --trials 1 --sampler TPE", "TPESampler"),
    case("sweep {tiny} --scorer scan --trials 1 --pruner Median", "MedianPruner"),
    case("sweep {tiny} --scorer scan --trials 1 --objective speed", "speed"),
    case("sweep {tiny} --scorer scan --trials 1 --at-most latency", "latency"),
    case("sweep {tiny} --scorer scan --trials 1 --at-most latency=fast", "fast"),
    case("sweep {tiny} --scorer scan --trials 1 --seeds 9", "seeds"),
    case("sweep {tiny} --scorer scan --trials 1 --grace nan", ""),
    case("sweep {tiny} --scorer scan --trials 1 --storage nonsense", "nonsense"),
    case("sweep {tiny} --scorer scan --trials 1 --storage sqlite:///{table}", ""),
    case("sweep {tiny} --scorer scan --trials 1 --study ../evil", "evil"),
    case("sweep {tiny} --scorer scan --trials 1 --set 'sweep={{space: 3}}'", "space"),
    case("sweep {tiny} --scorer scan --trials 1 --set 'sweep={{spaec: {{}}}}'", "did you mean 'space'"),
    case("sweep {tiny} --scorer scan --trials 1 --set 'sweep={{space: {{training.lr: [1]}}}}'", "training.lr"),
    case(
        "sweep {tiny} --scorer scan --trials 1 --set 'sweep={{space: {{training.margin: {{low: 2, high: 1}}}}}}'",
        "training.margin",
    ),
    # Profiles
    case("profile nowhere", "nowhere"),
    case("profile {folder}", "run"),
    case("profile {tiny} --seconds 0", "--seconds"),
    case("profile {tiny} --seconds nan", "seconds"),
    case("profile {tiny} --rounds 1", "--rounds"),
    case("profile {tiny} --samples 1", "--samples"),
    case("profile {tiny} --galleries many", "many"),
    case("profile {tiny} --galleries 0", "galler"),
    case("profile {tiny} --galleries ''", "galler"),
    case("profile {tiny} --gallery 1", "--gallery"),
    case("profile {tiny} --cascade scan", "scan"),
    case("profile {tiny} --cascade scan,nothing", "nothing"),
    case("profile {tiny} --budget latency", "latency"),
    case("profile {tiny} --budget 'latency<=fast'", "fast"),
    case("profile {tiny} --budget 'speed<=3ms'", "speed"),
    case("profile {tiny} --budget 'latency<=nanms'", "nan"),
    # Significance
    case("significance", "RESULTS"),
    case("significance {nowhere}", "nowhere"),
    case("significance {folder}", ""),
    case("significance {results} --pairs scan", "scan"),
    case("significance {results} --pairs scan:nothing", "nothing"),
    case("significance {results} --pairs scan:scan", "scan"),
    case("significance {results} --reference nothing", "nothing"),
    case("significance {results} --dataset nothing", "nothing"),
    case("significance {results} --protocol nothing", "nothing"),
    case("significance {results} --metric r7", "r7"),
    case("significance {results} --claim method", "seed"),
    case("significance {results} --claim all", "all"),
    case("significance {results} --equivalence nan", "nan"),
    case("significance {results} --equivalence -1", "-1"),
    case("significance {results} --equivalence t2i_r1=x", "x"),
    *[case(f"significance {{results}} --alpha {value}", "alpha") for value in ("0", "1", "nan", "-0.1", "high")],
    *[case(f"significance {{results}} --resamples {value}", "resamples") for value in ("0", "-5", "1000000000000")],
    case("significance {results} --seed -1", "seed"),
    *[
        case(f"significance {{results}} {{{name}}} --dataset scenes --protocol full", message)
        for name, message in {
            "table": "query_id",
            "run": "",
            "ranks_negative": "negative",
            "ranks_fraction": "",
            "ranks_text": "first",
            "ranks_twice": "q0",
            "ranks_empty": "",
            "trec_no_qrels": "qrels",
            "scores": "",
        }.items()
    ],
    # Scores
    case("evaluate {scores}", "--dataset"),
    case("evaluate {scores} --dataset nothing", "nothing"),
    case("evaluate {nowhere}.npy --dataset {tiny}", "nowhere"),
    *[
        case(f"evaluate {{{name}}} --dataset {{tiny}}", message)
        for name, message in {
            "folder": "",
            "empty": "",
            "page": "HTML",
            "pointer": "LFS",
            "table": "",
            "archive": "",
            "weights": "safetensors",
            "scores_shape": "(32, 160)",
            "scores_nan": "nan",
            "scores_text": "",
            "scores_complex": "complex",
            "scores_objects": "",
            "scores_cut": "",
        }.items()
    ],
    case("evaluate {scores} --dataset {tiny} --protocol fulll", "did you mean 'full'"),
    case("evaluate {scores} --dataset {tiny} --protocol coco_5k", "5,000"),
    case("evaluate {scores} --dataset {tiny} --ties random", "random"),
    case("evaluate {scores} --dataset {tiny} --split dev", "dev"),
    case("evaluate {scores} --dataset {tiny} --ensemble", "--ensemble"),
    case("evaluate {scores} {scores} --dataset {tiny}", "--ensemble"),
    case("evaluate {scores} --dataset {tiny} --json {folder}", ""),
    case("evaluate {scores} --dataset {tiny} --set cluter=low", "did you mean 'clutter'"),
    # Recorded runs
    case("report {nowhere}", "nowhere"),
    case("report {folder}", "no finished run"),
    case("report {table}", ""),
    case("site", "RESULTS"),
    case("site {nowhere}", "no folder at"),
    case("site {table}", "no folder at"),
    case("site {folder}", "neither runs nor reports"),
    case("site {results} --quick --set root=x", "--quick opens none"),
    case("site {results} --set colour=red", "no dataset of these runs has the option 'colour'"),
    case("site {results} --set nothing", "nothing"),
    case("site {results} --device tpu9", "tpu9"),
    case("rescore", "RUN"),
    case("rescore {id}", "--protocol"),
    case("rescore nothing --protocol full", "nothing"),
    case("rescore '' --protocol full", ""),
    case("rescore ../../etc --protocol full", ""),
    case("rescore {id} --protocol fulll", "did you mean 'full'"),
    case("rescore {id} --protocol coco_1k", "coco_1k"),
    case("rescore {id} --protocol full --ties none", "none"),
    case("ensemble {id}", ""),
    case("ensemble {id} {id}", ""),
    case("ensemble {id} nothing", "nothing"),
    case("ensemble {id} {other_id}", "scores"),
    case("compare-published {nowhere}", "nowhere"),
    case("compare-published {folder}", "no finished run"),
    *[case(f"compare-published {{results}} --tolerance {value}", "tolerance") for value in ("-1", "nan", "inf", "x")],
    case("diagnose", "RUN"),
    case("diagnose nothing", "nothing"),
    case("robustness", "EXP|RESULTS|RUN"),
    case("robustness nowhere", "no run 'nowhere'"),
    case("robustness {folder}", "run"),
    case("robustness {tiny} --only ''", "got none"),
    case("robustness {results} --only images --report-only", "--report-only asks nothing"),
    case("robustness {tiny} --only blurr", "no family of probes 'blurr'"),
    case("robustness {tiny} --only image", "did you mean 'images'"),
    case("robustness {results} --only images/blurr", "did you mean 'images/blur'"),
    case("robustness {results} --only images --images 3", "--images"),
    case("robustness {results} --severities 1,6", "from 1 to 5"),
    case("robustness {results} --severities hard", "'hard'"),
    case("robustness {results} --suite sugarcrepe", "NAME=FOLDER expected"),
    case("robustness {results} --suite sugarcrep={folder}", "did you mean 'sugarcrepe'"),
    case("robustness {results} --suite sugarcrepe={folder}", "holds no files of sugarcrepe; expected"),
    case("robustness {results} --suite aro={folder} --suite aro={folder}", "twice"),
    case("robustness {results} --only strata --against nobody", "nobody"),
    case("robustness {results} --set nothing=1", "nothing"),
    case("robustness {results} --device tpu", "tpu"),
    case("robustness {id} {id}x", "no run"),
    case("robustness {tiny} --set seeds=[7] --report-only", "is recorded"),
    case("explain", "RUN"),
    case("explain nothing --image 0", "nothing"),
    case("explain {id}", "--image"),
    case("explain {id} --image nobody.jpg", "no image 'nobody.jpg'"),
    case("explain {id} --image 999999", "no image '999999'"),
    case("explain {id} --image ''", "no image ''"),
    case("explain {id} --caption nothing", "no caption 'nothing'"),
    case("explain {id} --image 0 --caption 0 --text dog", "either --caption"),
    case("explain {id} --text dog", "--image"),
    case("explain {id} --image 0 --text ' '", "--text"),
    case("explain {id} --image 0 --device tpu", "tpu"),
    case("explain {id} --image 0 --set test_images=5", "not those of run"),
    case("explain {id} --image 0 --set nothing", "nothing"),
    # Datasets and plans
    case("describe", "PATH"),
    case("describe {nowhere}", "nowhere"),
    case("describe {folder}", "no known layout"),
    case("describe {table}", ""),
    case("describe scenes --layout karpaty", "did you mean 'karpathy'"),
    case("describe scenes --set cluter=low", "did you mean 'clutter'"),
    case("describe scenes --near 99", "--near"),
    case("describe scenes --against {nowhere}", "--against"),
    case("describe {k_escape}", "leaves"),
    case("plan", "EXP"),
    case("plan nothing", "unknown experiment"),
    case("plan quickstart --seconds 0", "--seconds"),
    case("plan quickstart --set seedz=1", "did you mean 'seeds'"),
    # Plug-ins and checkpoints
    case("check", "NAME|FILE"),
    case("check nothing", "unknown scorer 'nothing'"),
    case("check scan.nothing", "unknown variant"),
    case("check nowhere.py", "nowhere.py"),
    *[case(f"check {{plugin_{name}}}", "") for name in ("exits", "raises", "syntax", "imports", "nothing", "several")],
    case("import-checkpoint scan", "CHECKPOINT"),
    case("import-checkpoint scam {weights} {out}", "scam"),
    case("import-checkpoint vsepp {weights} {out}", "vsepp"),
    case("import-checkpoint scan {nowhere} {out}", "nowhere"),
    *[
        case(f"import-checkpoint scan {{{name}}} {{out}}", message)
        for name, message in {
            "folder": "",
            "empty": "",
            "page": "HTML",
            "pointer": "LFS",
            "noise": "",
            "archive": "",
            "table": "",
            "scores": "",
            "torch_scores": "",
        }.items()
    ],
    case("bench --seconds 0", "--seconds"),
    case("bench --seconds nan", "seconds"),
    case("bench --device tpu9", "tpu9"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Names of files and folders -> their paths, and the ids of two finished runs."""
    base = tmp_path_factory.mktemp("world")
    places = write_all(base) | {"results": base / "results"}
    finished = _finished(places["tiny"], places["results"])
    places["weights"] = base / "results" / "runs" / finished["id"] / "model.safetensors"
    return {name: str(path) for name, path in places.items()} | finished


def _finished(experiment: Path, results: Path) -> dict[str, str]:
    with pytest.raises(SystemExit) as stop:
        main(
            ["leaderboard", str(experiment), "--results", str(results), "--set", "scorers=[scan, chan]", "--no-mlflow"]
        )
    assert not stop.value.code
    first, second = sorted(RunStore(results).records(), key=lambda record: record.scorer, reverse=True)
    return {"id": first.run_id, "other_id": second.run_id}


def _contents(base: Path) -> dict[str, str]:
    """Every file below a folder -> the SHA-256 of its bytes; locks and the mirror's database are not results."""
    return {
        str(path.relative_to(base)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(base.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and not path.name.startswith("mlflow.db")
    }


@pytest.mark.parametrize(("line", "message", "code"), CASES)
def test_bad_input_is_one_clear_line(line, message, code, world, tmp_path, monkeypatch, capsys):
    base = Path(world["folder"]).parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITM_RESULTS", world["results"])
    monkeypatch.setattr(registry, "_plugins", {})
    before = _contents(base)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([word.format(**world) for word in shlex.split(line)])
    out, err = capsys.readouterr()
    errors = [text for text in err.splitlines() if text.startswith("itm: error:")]
    assert stop.value.code == code, f"{stop.value.code}\n{out}\n{err}"
    assert len(errors) == 1, err
    assert message in errors[0]
    assert len(errors[0]) < 1000
    assert "Traceback" not in err + out
    after = _contents(base)
    assert {name: after.get(name) for name in before} == before
    assert all(name.startswith("results/") for name in after.keys() - before.keys())
    assert not list(tmp_path.iterdir())


def test_every_command_is_tried():
    tried = {shlex.split(values.values[0])[0] for values in CASES}
    assert set(COMMANDS) <= tried
    assert len(CASES) >= 150
