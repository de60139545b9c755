"""The page of a described dataset: each finding where its fact is, the worst first, untrusted text as text."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from PIL import Image

from harness.records.description import (
    Bound,
    CaptionFacts,
    Contamination,
    Description,
    Duplicates,
    FeatureFacts,
    FileFacts,
    Item,
    Limit,
    NewWords,
    Oddity,
    Order,
    Pair,
    Repeats,
    Sample,
    SplitFacts,
    Spread,
    VocabularyFacts,
)
from harness.reports.description.report import build, findings
from harness.reports.document.render import render, write

HOSTILE = '<script>alert("1")</script> | **b** [a](javascript:x) {{ 7*7 }} \x1b[31m'


def spread(value: float = 3.0, **more: float) -> Spread:
    values = dict.fromkeys(("mean", "smallest", "median", "p95", "largest"), value)
    return Spread(number=10, **{**values, **more})


def no_repeats(**more: Any) -> Repeats:
    bound = Bound(**{key: more.pop(key, 100.0) for key in Bound.model_fields})
    counts = dict.fromkeys(
        ("repeats", "texts", "shared_texts", "shared_captions", "sharing_images", "repeating_images"), 0
    )
    return Repeats(**{**counts, "bound": bound, **more})


def captions(**more: Any) -> CaptionFacts:
    facts: dict[str, Any] = {
        "number": 500,
        "per_image": {5: 100},
        "words": spread(),
        "lengths": {3: 500},
        "characters": spread(),
        "blank": 0,
        "exact": no_repeats(),
        "as_words": no_repeats(),
        "vocabulary": 40,
    }
    return CaptionFacts(**{**facts, **more})


def split(name: str = "test", texts: dict[str, Any] | None = None, **more: Any) -> SplitFacts:
    return SplitFacts(name=name, images=100, captions=captions(**(texts or {})), **more)


def description(*splits: SplitFacts, **more: Any) -> Description:
    return Description(title="tiny", layout="karpathy", near_bits=10, splits=[split("train"), *splits], **more)


FEATURES = {"rows": 9, "regions": 3, "width": 8, "dtype": "float32", "norms": spread(), "sampled": False}
VOCABULARY = {"file": "v.json", "words": 9, "not_in_train": 2, "unknown_in_train": 0}
ROW = {"split": "test", "other": "mscoco", "other_split": "train", "images": 100, "other_images": 9}

CASES: dict[str, tuple[Description, str, str]] = {
    "missing files": (
        description(split(files=FileFacts(missing=3, problems=["cannot read x.jpg"]))),
        "error",
        "test: missing image files, so runs refuse this dataset: 3 of 100 (first: cannot read x.jpg)",
    ),
    "unreadable files": (
        description(split(files=FileFacts(missing=1, unreadable=2, problems=["no x.jpg", "bad y.jpg", "bad z.jpg"]))),
        "error",
        "test: unreadable image files, so runs refuse this dataset: 2 of 100 (first: bad y.jpg)",
    ),
    "equal images": (
        description(split(), duplicates=[Duplicates(first="test", second="train", equal=4, near=0)]),
        "error",
        "test: images that train has, too, with equal content, so they are not new: 4 of 100",
    ),
    "one near image": (
        description(split(), duplicates=[Duplicates(first="test", second="train", equal=0, near=1)]),
        "warning",
        "test: images with a near-duplicate (by hash) in train, to be looked at: 1 of 100",
    ),
    "contamination": (
        description(split(), contamination=[Contamination(**ROW, names=0, numbers=94, any=94)]),
        "error",
        "test: images that mscoco train has, too, so they are not new to a model trained on it: 94 of 100 (94 by number)",
    ),
    "bare numbers": (
        description(split(), contamination=[Contamination(**ROW, names=0, numbers=0, any=0, bare_numbers=7)]),
        "warning",
        "test: 7 of 100 ids are bare numbers that mscoco train has, too",
    ),
    "the whole dataset": (
        description(split(whole_of="flickr30k")),
        "error",
        "test: 100 images are as many as all splits of flickr30k have together",
    ),
    "another size": (
        description(split(published_images=[1000, 5000])),
        "warning",
        "test: 100 images, where published figures of tiny are of 1,000 or 5,000",
    ),
    "shifted captions": (
        description(split(texts={"order": Order(likeness_percent=[20.0, 2.0], shift=1)})),
        "error",
        "test: captions seem to be shifted against the images: their subject changes 1 caption after",
    ),
    "most captions cut": (
        description(
            split("train", {"limits": [Limit(text="CLIP", longest=77, cut=400, unknown=0)]}),
        ).model_copy(
            update={"splits": [split("train", {"limits": [Limit(text="CLIP", longest=77, cut=400, unknown=0)]})]}
        ),
        "error",
        "captions longer than the 77 tokens of CLIP, ends unread: train 400 of 500",
    ),
    "tags everywhere": (
        description(
            split(texts={"oddities": [Oddity(kind="part-of-speech tags", captions=500, examples=["a/n b/v"])]})
        ),
        "error",
        "captions with part-of-speech tags: test 500 of 500 (a/n b/v)",
    ),
    "one entity": (
        description(split(texts={"oddities": [Oddity(kind="HTML entities", captions=1, examples=["&amp;"])]})),
        "warning",
        "captions with HTML entities: test 1 of 500 (&amp;)",
    ),
    "another script": (
        description(split(texts={"scripts": {"CJK": 500}})),
        "warning",
        "captions in a script without spaces, which backbones that learn words (bigru) take for one word: test 500",
    ),
    "blank captions": (
        description(split(texts={"blank": 2})),
        "warning",
        "blank captions, by which nothing can be found",
    ),
    "captions of train": (
        description(split(texts={"also_in_train": 100})),
        "error",
        "captions that train has, too, so many that files seem to be mixed up: test 100 of 500",
    ),
    "ties": (
        description(
            split(
                texts={"exact": no_repeats(sharing_images=6, t2i_pessimistic_percent=98.0, t2i_expected_percent=99.0)}
            )
        ),
        "warning",
        "test: 6 of 100 images share a caption word for word: no R@1 can exceed 98.00 % text to image (99.00 % with ties in",
    ),
    "a vocabulary made with test captions": (
        description(split(), vocabulary=VocabularyFacts(**VOCABULARY, only_elsewhere=2, unknown_occurrences_percent=0)),
        "warning",
        "v.json holds 2 words that validation or test captions have and training captions lack",
    ),
    "a vocabulary of other data": (
        description(
            split(), vocabulary=VocabularyFacts(**VOCABULARY, only_elsewhere=0, unknown_occurrences_percent=30)
        ),
        "warning",
        "v.json lacks 30.0 % of the words in training captions",
    ),
    "new words": (
        description(split(texts={"new_words": NewWords(words=3, occurrences=9, captions=8)})),
        "note",
        "captions with a word that no training caption has: test 8 of 500",
    ),
    "uneven numbers": (
        description(split(texts={"per_image": {5: 90, 6: 10}})),
        "warning",
        "test: numbers of captions differ (90 with 5, 10 with 6)",
    ),
    "a reader's decision": (
        description(split(), decided=["captions.json: white space of 9 captions normalised"]),
        "note",
        "while reading: captions.json: white space of 9 captions normalised",
    ),
    "squares": (
        description(
            split(files=FileFacts(sizes={"64 x 64": 9}, width=spread(64), height=spread(64), aspect=spread(1)))
        ),
        "warning",
        "test: every image is 64 x 64",
    ),
    "grey and turned": (
        description(split(files=FileFacts(width=spread(64), height=spread(80), modes={"L": 2, "RGB": 7}, turned=1))),
        "note",
        "test: images that are not RGB: 2 L",
    ),
    "unequal widths": (
        description(
            split("val", features=FeatureFacts(**FEATURES, zero_regions=0, zero_images=0, equal_regions=0)),
            split(features=FeatureFacts(**{**FEATURES, "width": 4}, zero_regions=0, zero_images=0, equal_regions=0)),
        ),
        "error",
        "the splits' features differ in width (val 8, test 4)",
    ),
    "zero images": (
        description(split(features=FeatureFacts(**FEATURES, zero_regions=6, zero_images=2, equal_regions=2))),
        "error",
        "test: all features of 2 images are zero",
    ),
    "quick": (description(split(), quick=True), "note", "--quick: no image was decoded"),
}


@pytest.mark.parametrize(("facts", "level", "text"), CASES.values(), ids=CASES)
def test_each_fact_is_a_finding(facts, level, text):
    found = [notice for notice in findings(facts) if text in notice.text]
    assert [notice.level for notice in found] == [level], [notice.text for notice in findings(facts)]


def test_sound_data_have_no_findings():
    assert findings(description(split())) == []
    assert "No problem was found." in render(build(description(split())), "html")


def test_the_worst_comes_first_and_splits_are_joined():
    files = FileFacts(sizes={"64 x 64": 9}, width=spread(64), height=spread(64), aspect=spread(1))
    facts = description(split("val", files=files), split(files=files, texts={"blank": 1}), quick=True).model_copy(
        update={"duplicates": [Duplicates(first="test", second="train", equal=4, near=None)]}
    )
    levels = [notice.level for notice in findings(facts)]
    assert levels == sorted(levels, key=("error", "warning", "note").index)
    assert any(notice.text.startswith("val, test: every image is 64 x 64") for notice in findings(facts))


def thumbnail() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def hostile() -> Description:
    item = Item(split="test", image_id=HOSTILE)
    odd = Oddity(kind="HTML tags", captions=9, examples=[HOSTILE])
    return description(
        split(texts={"oddities": [odd], "exact": no_repeats(examples={HOSTILE: 2})}),
        root=HOSTILE,
        pairs=[Pair(first=item, second=item, kind="equal")],
        samples=[Sample(split="test", image_id=HOSTILE, captions=[HOSTILE])],
        decided=[HOSTILE],
    ).model_copy(update={"title": HOSTILE})


def test_captions_and_names_stay_text_on_the_page():
    page = render(build(hostile(), {("test", HOSTILE): thumbnail()}), "html")
    assert "<script" not in page
    assert "\x1b" not in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", page)
    markdown = render(build(hostile(), {("test", HOSTILE): thumbnail()}), "md")
    assert "<script" not in markdown
    assert all(re.match(r"!\[(?:[^\]\\]|\\.)*\]\(describe-", text) for text in re.findall(r"!\[.*", markdown))


def test_pictures_are_files_beside_the_markdown(tmp_path):
    report = build(hostile(), {("test", HOSTILE): thumbnail()})
    files = {path.relative_to(tmp_path).as_posix() for path in write(report, tmp_path)}
    text = (tmp_path / "describe.md").read_text()
    pictures = sorted(name for name in files if name.endswith(".jpg"))
    assert pictures == ["describe-pairs/00.jpg", "describe-pairs/01.jpg", "describe-samples-test/00.jpg"]
    assert all(f"]({name})" in text and (tmp_path / name).read_bytes() == thumbnail() for name in pictures)


def test_the_json_holds_every_fact():
    facts = hostile()
    content = json.loads(render(build(facts), "json"))
    assert Description.model_validate(content["data"]["description"]) == facts
    assert content["data"]["findings"] == [[notice.level, notice.text] for notice in findings(facts)]
