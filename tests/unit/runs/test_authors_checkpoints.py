"""The authors' checkpoints: what they become, and what is refused."""

import argparse
import pickle
import struct
import zipfile
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.backbones.weights import bare_names, read_safe_pickle, read_state_dict, require_finite
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import CannotEncode, InvalidCheckpoint, InvalidDataset, UnknownName
from harness.fragments import Fragments
from harness.registry import create
from harness.runs.saved_models import import_checkpoint, load_model, save_model
from harness.scorers.authors.checkpoints import ALLOWED

WORDS = ["<pad>", "<start>", "<end>", "<unk>", "a", "dog"]


def author_states(width=8, region_width=6, word_width=5):
    """State dicts in the layout of SCAN's and CHAN's encoders, with random weights."""
    torch.manual_seed(0)
    linear, gru = nn.Linear(region_width, width), nn.GRU(word_width, width, batch_first=True, bidirectional=True)
    image = {f"fc.{name}": tensor for name, tensor in linear.state_dict().items()}
    text = {"embed.weight": torch.randn(len(WORDS), word_width)}
    text |= {f"rnn.{name}": tensor for name, tensor in gru.state_dict().items()}
    return [image, text]


def write(path, states=None, **options):
    torch.save({"model": states or author_states(), "opt": argparse.Namespace(**options), "epoch": 1}, path)
    return path


def test_the_authors_options_become_our_config(tmp_path):
    path = write(
        tmp_path / "c.pth.tar",
        cross_attn="i2t",
        raw_feature_norm="no_norm",
        agg_func="Mean",
        lambda_softmax=4.0,
        lambda_lse=5.0,
    )
    config = import_checkpoint(path, "scan").config
    assert config.model_dump() == {
        "direction": "i2t",
        "attention_norm": "none",
        "pooling": "mean",
        "inverse_temperature": 4.0,
        "lse_scale": 5.0,
    }
    path = write(tmp_path / "c.pth", coding_type="THACoding", pooling_type="MaxPooling", belta=0.2)
    assert import_checkpoint(path, "chan").config.model_dump() == {
        "coding": "tha",
        "pooling": "max",
        "temperature": 0.2,
    }


def test_options_that_are_not_there_keep_the_defaults_and_the_caller_overrides(tmp_path):
    path = write(tmp_path / "c.pth.tar", agg_func="Mean")
    assert import_checkpoint(path, "scan").config == create("scan", pooling="mean").config
    assert import_checkpoint(path, "scan", pooling="sum").config.pooling == "sum"


def test_a_vocabulary_file_or_the_checkpoints_own_words_make_captions_work(tmp_path):
    ids = {word: number for number, word in enumerate(WORDS)}
    own = import_checkpoint(write(tmp_path / "own.pth", word2idx=ids), "chan")
    Vocabulary(tuple(WORDS)).save(tmp_path / "v.json")
    given = import_checkpoint(write(tmp_path / "given.pth"), "chan", vocabulary=tmp_path / "v.json")
    for scorer in (own, given):
        assert scorer.text_encoder.tokenizer(["a dog barks"]).ids.tolist() == [[1, 4, 5, 3, 2]]
    without = import_checkpoint(write(tmp_path / "without.pth"), "chan")
    with pytest.raises(CannotEncode, match="vocabulary"):
        without.text_encoder.tokenizer(["a dog"])


@pytest.mark.parametrize("scorer", ["scan", "chan"])
def test_captions_of_any_length_are_read_whole(tmp_path, scorer):
    Vocabulary(tuple(WORDS)).save(tmp_path / "v.json")
    imported = import_checkpoint(write(tmp_path / "c.pth"), scorer, vocabulary=tmp_path / "v.json")
    save_model(imported, tmp_path / "m.safetensors")
    for model in (imported, load_model(tmp_path / "m.safetensors")):
        ids = model.text_encoder.tokenizer(["dog " * 75, "a " * 300]).ids
        assert ids[0].tolist()[:77] == [1, *[5] * 75, 2]
        assert ids[1].tolist() == [1, *[4] * 300, 2]


def test_chan_adds_a_mask_to_the_words_of_the_vocabulary_file(tmp_path):
    """Its training script does, so that its embedding has a row more than the published file has words."""
    states = author_states()
    states[1]["embed.weight"] = torch.randn(len(WORDS) + 1, 5)
    Vocabulary(tuple(WORDS)).save(tmp_path / "v.json")
    path = write(tmp_path / "c.pth", states)
    tokenizer = import_checkpoint(path, "chan", vocabulary=tmp_path / "v.json").text_encoder.tokenizer
    assert tokenizer.mask_id == len(WORDS)
    with pytest.raises(InvalidCheckpoint, match="embeds 7 words but the vocabulary has 6"):
        import_checkpoint(path, "scan", vocabulary=tmp_path / "v.json")


def test_another_vocabulary_is_refused(tmp_path):
    Vocabulary((*WORDS, "more")).save(tmp_path / "v.json")
    with pytest.raises(InvalidCheckpoint, match="embeds 6 words but the vocabulary has 7"):
        import_checkpoint(write(tmp_path / "c.pth"), "scan", vocabulary=tmp_path / "v.json")
    with pytest.raises(InvalidDataset, match="cannot read"):
        import_checkpoint(write(tmp_path / "c.pth"), "scan", vocabulary=tmp_path / "nowhere.json")


@pytest.mark.parametrize("dim", [None, 0])
def test_weight_normalisation_is_folded_in(tmp_path, dim):
    torch.manual_seed(0)
    linear = nn.utils.weight_norm(nn.Linear(6, 8), dim=dim)
    linear.weight_g.data *= 1.7
    states = author_states()
    states[0] = {f"fc.{name}": tensor for name, tensor in linear.state_dict().items()}
    encoder = import_checkpoint(write(tmp_path / "c.pth", states), "scan").image_encoder
    with torch.no_grad():
        regions = Fragments(torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool))
        assert torch.allclose(encoder(regions).features, linear(regions.features), atol=1e-6)


def test_a_bert_text_side(tmp_path):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(vocab_size=20, hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=32)
    ).eval()
    linear = nn.Linear(64, 8)
    states = author_states()
    states[1] = {f"bert.{name}": tensor for name, tensor in bert.state_dict().items()}
    states[1]["bert.embeddings.position_ids"] = torch.arange(512)[None]  # as older transformers saved it
    states[1] |= {f"linear.{name}": tensor for name, tensor in linear.state_dict().items()}
    scorer = import_checkpoint(write(tmp_path / "c.pth", states, pooling_type="MeanPooling"), "chan")
    ids = torch.tensor([[2, 7, 9, 3], [2, 5, 3, 0]])
    from harness.fragments import Tokens

    assert scorer.text_encoder.config.max_words == 512, "all positions that BERT has"
    with torch.no_grad():
        got = scorer.text_encoder(Tokens(ids, ids != 0))
        expected = linear(bert(ids, (ids != 0).float())[0])
    assert torch.allclose(got.features[got.mask], expected[got.mask], atol=1e-5)
    save_model(scorer, tmp_path / "m.safetensors")
    with torch.no_grad():
        again = load_model(tmp_path / "m.safetensors").text_encoder(Tokens(ids, ids != 0))
    assert torch.equal(again.features, got.features)


def wrapped(prefix, states=None):
    return [{f"{prefix}{name}": tensor for name, tensor in side.items()} for side in states or author_states()]


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "_fsdp_wrapped_module."],
)
def test_what_wrappers_add_to_names_does_not_count(tmp_path, prefix):
    plain = import_checkpoint(write(tmp_path / "plain.pth"), "scan").state_dict()
    got = import_checkpoint(write(tmp_path / "c.pth", wrapped(prefix)), "scan").state_dict()
    assert got.keys() == plain.keys()
    assert all(torch.equal(got[name], plain[name]) for name in plain)


def test_a_compiled_or_parallel_part_of_a_module_is_unwrapped_too(tmp_path):
    states = author_states()
    states[0] = {name.replace("fc.", "fc.module."): tensor for name, tensor in states[0].items()}
    states[1] = {name.replace("rnn.", "rnn._orig_mod."): tensor for name, tensor in states[1].items()}
    plain = import_checkpoint(write(tmp_path / "plain.pth"), "scan").state_dict()
    got = import_checkpoint(write(tmp_path / "c.pth", states), "scan").state_dict()
    assert all(torch.equal(got[name], plain[name]) for name in plain)


BARE = {"a.weight": 1, "b.bias": 2}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (BARE, BARE),
        ({"module.a.weight": 1, "module.b.bias": 2}, BARE),
        ({"module.a.weight": 1, "b._orig_mod.bias": 2}, BARE),
        ({"n_averaged": 9, "module.a.weight": 1, "module.b.bias": 2}, BARE),
        ({"ema_model.a.weight": 1, "ema_model.b.bias": 2, "online_model.a.weight": 5, "initted": 1, "step": 7}, BARE),
        ({"step": 3, "a.weight": 1}, {"step": 3, "a.weight": 1}),
        # Two names that would become one: nothing is dropped.
        ({"module.a.weight": 1, "a.weight": 2}, {"module.a.weight": 1, "a.weight": 2}),
    ],
)
def test_bare_names(state, expected):
    assert bare_names(state) == expected


@pytest.mark.parametrize("key", ["state_dict", "model", "state_dict_ema", "model_ema", None])
def test_weights_under_any_usual_key_are_found(tmp_path, key):
    state = {"module.a": torch.ones(2)}
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth")["a"].tolist() == [1, 1]


def test_of_weights_and_their_average_the_weights_are_read_and_a_line_says_so(tmp_path, caplog):
    torch.save({"state_dict": {"a": torch.ones(2)}, "state_dict_ema": {"a": torch.zeros(2)}}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth")["a"].tolist() == [1, 1]
    assert "'state_dict' is read, not the moving average" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", ["image", "text"])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value, side):
    states = author_states()
    name = {"image": "fc.weight", "text": "rnn.weight_hh_l0"}[side]
    states[side == "text"][name][1, 2] = value
    with pytest.raises(InvalidCheckpoint, match=f"{side} encoder: '{name}' holds 1 NaN or infinite value"):
        import_checkpoint(write(tmp_path / "c.pth", states), "scan")


def test_a_mask_may_hold_minus_infinity():
    mask = torch.full((2, 2), -torch.inf).triu(1)
    require_finite({"attn_mask": mask}, "w")
    with pytest.raises(InvalidCheckpoint, match="'weight'"):
        require_finite({"weight": mask}, "w")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n"
STRANGERS = {
    "html": (b"\n<!doctype HTML>\n<title>Quota exceeded</title>", "an HTML page.*download it again"),
    "lfs": (LFS, "a Git LFS pointer.*git lfs pull"),
    "annex": (b"../.git/annex/objects/a/b/SHA256E-s1--0.pth\n", "a git-annex pointer"),
    "empty": (b"", "an empty file"),
    "zeros": (bytes(5000), "a file of zero bytes only"),
    "gzip": (b"\x1f\x8b\x08" + bytes(9), "gzip-compressed.*gunzip"),
    "json": (b'{"error": "not found"}', "a JSON file"),
    "yaml": (b"name: mine\ndataset: scenes\n", "a YAML text"),
    "csv": (b"query_id,rank\nq,1\nr,2\n", "a CSV table"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(9), "an HDF5 file"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(9), "a PNG image"),
    "text": (b"Not Found", "a text"),
}


@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".safetensors"])
@pytest.mark.parametrize("name", STRANGERS)
def test_another_kind_of_file_is_named(tmp_path, name, suffix):
    content, complaint = STRANGERS[name]
    path = tmp_path / f"c{suffix}"
    path.write_bytes(content)
    for read in (read_state_dict, load_model if suffix == ".safetensors" else lambda p: import_checkpoint(p, "scan")):
        with pytest.raises(InvalidCheckpoint, match=complaint) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_zip_that_is_no_checkpoint_and_safetensors_under_another_name_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InvalidCheckpoint, match=r"a zip archive of 1 file.*unpack it"):
        import_checkpoint(tmp_path / "c.pth", "scan")
    save_file({"a": torch.zeros(1)}, tmp_path / "s.pth")
    with pytest.raises(InvalidCheckpoint, match=r"a safetensors file.*give it the suffix .safetensors"):
        read_state_dict(tmp_path / "s.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "t.safetensors")
    with pytest.raises(InvalidCheckpoint, match=r"a PyTorch file.*suffix .pt"):
        read_state_dict(tmp_path / "t.safetensors")
    with pytest.raises(InvalidCheckpoint, match=r"a PyTorch file.*itm import-checkpoint"):
        load_model(tmp_path / "t.safetensors")


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def changed(side, name, tensor):
    states = author_states()
    states[side][name] = tensor
    return {"model": states}


UNFIT = {
    "malicious": ({"model": author_states(), "opt": Malicious()}, "ever executed"),
    "no_model": ({"state_dict": {}}, "not a checkpoint of SCAN's or CHAN's"),
    "a_list": ([1, 2], "not a checkpoint of SCAN's or CHAN's"),
    "one_side": ({"model": author_states()[:1]}, "list of state dicts"),
    "no_tensors": ({"model": [{"fc.weight": 1}, {"embed.weight": 2}]}, "named tensors, got fc.weight"),
    "other_names": ({"model": [{"cnn.weight": torch.zeros(2, 2)}, author_states()[1]]}, "'fc.weight'"),
    "surplus": (changed(0, "feedforward.mlp.weight", torch.zeros(8, 8)), r"missing.*surplus|surplus"),
    "wrong_shape": (
        changed(0, "fc.bias", torch.zeros(3)),
        r"'linear.bias' has shape \(3,\) but the model expects \(8,\)",
    ),
    "wrong_gru": (changed(1, "rnn.bias_hh_l0", torch.zeros(3)), r"'gru.bias_hh_l0' has shape"),
    "no_matrix": (changed(0, "fc.weight", torch.zeros(8)), r"expected a matrix 'fc.weight', got shape \(8,\)"),
    "other_widths": ({"model": [author_states(4)[0], author_states(8)[1]]}, "width 4 but its text side 8"),
    "more_weights": (
        {"model": [*author_states(), {"gate.weight": torch.zeros(1)}]},
        r"a checkpoint of another method \(three parts\); itm has no scorer",
    ),
    "odd_heads": (
        {"model": [{**author_states(12)[0], "feedforward.ln.weight": torch.ones(12)}, author_states(12)[1]]},
        "8 heads",
    ),
    "no_norm": ({"model": author_states(), "opt": argparse.Namespace(no_imgnorm=True)}, "--no_imgnorm"),
    "strange_option": (
        {"model": author_states(), "opt": argparse.Namespace(agg_func="Median")},
        "agg_func=Median; supported: LogSumExp",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_what_is_unsafe_or_does_not_fit_is_refused_in_one_line(tmp_path, capfd, case, zipped):
    content, complaint = UNFIT[case]
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InvalidCheckpoint, match=complaint) as caught:
        import_checkpoint(tmp_path / "c.pth", "scan")
    assert "\n" not in str(caught.value)
    assert "executed" not in capfd.readouterr().out


def test_a_truncated_or_missing_file_is_refused(tmp_path):
    path = write(tmp_path / "c.pth")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InvalidCheckpoint, match="not a readable checkpoint"):
        import_checkpoint(path, "scan")
    with pytest.raises(InvalidCheckpoint, match="no checkpoint at"):
        import_checkpoint(tmp_path / "gone.pth", "scan")


def test_other_scorers_have_no_authors_checkpoints(tmp_path):
    with pytest.raises(UnknownName, match="valid: chan, scan"):
        import_checkpoint(write(tmp_path / "c.pth"), "clip")


def test_numpy_numbers_in_the_options_are_read_as_numbers(tmp_path):
    path = write(tmp_path / "c.pth", lambda_softmax=np.float64(3.5), lambda_lse=np.float32(2.5), margin=np.int64(1))
    config = import_checkpoint(path, "scan").config
    assert (config.inverse_temperature, config.lse_scale) == (3.5, 2.5)


def test_a_numpy_object_scalar_is_refused(tmp_path):
    path = write(tmp_path / "c.pth", harmless=np.float64(1.0))
    torch.save({"x": _ObjectScalar()}, path)
    with pytest.raises(InvalidCheckpoint, match="values of type 'O8', which are no numbers"):
        read_safe_pickle(path, ALLOWED)


class _ObjectScalar:
    """Pickles as numpy's scalar constructor on an object type, which older numpy took for a pointer."""

    def __reduce__(self):
        return (np.float64(1).__reduce__()[0], (np.dtype(object), b"\x00" * 8))


class _Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 did: one kind of string, of any bytes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)

    dispatch[str] = dispatch[bytes] = save_text


def test_files_of_python_2_are_read(tmp_path):
    path = tmp_path / "c.pth.tar"
    with path.open("wb") as file:
        # PyTorch's format before 1.6: magic number, version, machine, content, storages
        for value in (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {"little_endian": True}):
            pickle.dump(value, file, protocol=2)
        _Python2Pickler(file, protocol=2).dump({"best_rsum": np.float64(-431.7), "opt": argparse.Namespace(x="t2i")})
        pickle.dump([], file, protocol=2)
    content = read_safe_pickle(path, ALLOWED)
    assert content["best_rsum"] == -431.7
    assert content["opt"].x == "t2i"
    assert max(struct.pack("<d", -431.7)) > 127  # the number's bytes are no ASCII, which is what Python 2 makes hard
