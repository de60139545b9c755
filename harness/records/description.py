"""What `itm describe` found in a dataset: facts only, per split and between splits. `harness/description/` fills it in.

Counts are whole numbers; whatever is a share says `percent` in its name.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.spec import Spec

SCHEMA_VERSION = 1
PROBLEMS = 5  #: files of each kind whose problem is told


class Spread(Spec):
    """Where a number lies over many things."""

    number: int = Field(description="how many things")
    mean: float
    smallest: float
    median: float
    p95: float
    largest: float


class Limit(Spec):
    """What one text encoder loses of a split's captions."""

    text: str = Field(description="the encoder, in words")
    longest: int = Field(description="tokens that it takes, special ones included")
    cut: int = Field(description="captions whose end it leaves out")
    unknown: int = Field(description="captions in which it knows no word")


class Bound(Spec):
    """The best R@1 that any scorer can reach where equal captions or equal images must tie, in percent.

    Each figure is a bound of its own direction and rule for ties: equal items counted against the query, or in random
    order.
    """

    i2t_pessimistic_percent: float
    i2t_expected_percent: float
    t2i_pessimistic_percent: float
    t2i_expected_percent: float


class Repeats(Spec):
    """Captions of a split whose texts are equal."""

    repeats: int = Field(description="captions whose text an earlier caption has already")
    texts: int = Field(description="different texts that occur more than once")
    shared_texts: int = Field(description="different texts that belong to several images")
    shared_captions: int = Field(description="captions with such a text")
    sharing_images: int = Field(description="images with at least one such caption")
    repeating_images: int = Field(description="images that have one text twice")
    examples: dict[str, int] = Field(default_factory=dict, description="texts of most images -> number of images")
    bound: Bound
    folds: list[Bound] = Field(default_factory=list, description="of each 1,000 images, where the protocols fold")


class NewWords(Spec):
    """Words of a split that its training captions lack."""

    words: int = Field(description="different words")
    occurrences: int
    captions: int = Field(description="captions that hold at least one")
    listed: dict[str, int] = Field(default_factory=dict, description="word -> occurrences, the most frequent first")


class Oddity(Spec):
    """Captions with something that no caption should hold."""

    kind: str
    captions: int
    examples: list[str] = Field(default_factory=list, description="the first captions")


class Order(Spec):
    """Whether neighbouring captions that should share an image are more alike than those that should not.

    Mean share of words that captions k and k + 1 have in common (Jaccard, percent), by k modulo captions per image.
    """

    likeness_percent: list[float]
    shift: int = Field(description="captions by which the boundaries between images seem to be moved; 0 = they fit")


class CaptionFacts(Spec):
    """The captions of a split."""

    number: int
    per_image: dict[int, int] = Field(description="captions per image -> images")
    words: Spread = Field(description="per caption, separated by white space")
    lengths: dict[int, int] = Field(description="words of a caption -> captions")
    characters: Spread
    limits: list[Limit] = Field(default_factory=list)
    blank: int
    exact: Repeats = Field(description="equal character by character")
    as_words: Repeats = Field(description="equal after lower-casing and splitting into words, as tokenizers do")
    vocabulary: int = Field(description="different words, lower-case, with punctuation marks")
    new_words: NewWords | None = Field(None, description="None for the training split, or where there is none")
    also_in_train: int | None = Field(None, description="captions whose text the training split has too")
    oddities: list[Oddity] = Field(default_factory=list)
    scripts: dict[str, int] = Field(default_factory=dict, description="script -> captions with a letter of it")
    order: Order | None = None


class FileFacts(Spec):
    """The image files of a split."""

    missing: int = 0
    unreadable: int = Field(0, description="files that cannot be decoded")
    problems: list[str] = Field(
        default_factory=list, description="of the first few missing files, then of the first few unreadable ones"
    )
    bytes: Spread | None = None
    width: Spread | None = None
    height: Spread | None = None
    aspect: Spread | None = Field(None, description="width / height")
    sizes: dict[str, int] = Field(default_factory=dict, description="the most frequent sizes in pixels -> images")
    modes: dict[str, int] = Field(default_factory=dict, description="Pillow's name of the pixel type -> images")
    formats: dict[str, int] = Field(default_factory=dict)
    turned: int = Field(0, description="images that EXIF data rotate or mirror")
    uniform: int = Field(0, description="images of (almost) one grey value, which have no perceptual hash")


class FeatureFacts(Spec):
    """The region features of a split."""

    rows: int = Field(description="images, as the dataset counts them")
    regions: int = Field(description="the most regions of an image")
    width: int
    dtype: str
    norms: Spread = Field(description="Euclidean norm of a region")
    zero_regions: int = Field(description="regions whose features are all zero")
    zero_images: int = Field(description="images all of whose regions are zero")
    equal_regions: int = Field(description="images whose regions are all equal")
    sampled: bool = Field(description="norms and zeros are of a sample of images; digests are of all")


class SplitFacts(Spec):
    """One split."""

    name: str
    images: int
    published_images: list[int] = Field(default_factory=list, description="numbers of images that published tables use")
    whole_of: str = Field("", description="the known dataset that has as many images in all its splits together")
    captions: CaptionFacts
    files: FileFacts | None = None
    features: FeatureFacts | None = None


class Item(Spec):
    """An image: where it stands."""

    dataset: str = Field("", description="title of another dataset; empty for the described one")
    split: str
    image_id: str


class Pair(Spec):
    """Two images that show the same."""

    first: Item
    second: Item
    kind: Literal["equal", "near"] = Field(description="equal content, or near by perceptual hash")
    bits: int = Field(0, description="differing bits of the 64 of the perceptual hash")


class Duplicates(Spec):
    """Images of two splits, or of one, that show the same."""

    first: str
    second: str
    equal: int = Field(description="images of the first that are equal to another image of the second")
    near: int | None = Field(
        None, description="further images of the first with a near-duplicate; None = not looked for"
    )


class Contamination(Spec):
    """Images of a split that another dataset has too."""

    split: str
    other: str
    other_split: str
    images: int = Field(description="images of the split")
    other_images: int
    names: int | None = Field(description="images of the split with the same file name, None where there are no names")
    numbers: int | None = Field(None, description="further images with the same number at COCO or Flickr")
    bare_numbers: int = Field(0, description="images that share a short bare number, which proves nothing by itself")
    equal: int | None = Field(
        None, description="images of the split with equal content, None where it was not compared"
    )
    near: int | None = Field(None, description="further images of the split with a near-duplicate")
    any: int = Field(description="images of the split that any of these finds")
    captions: int | None = Field(None, description="captions of the split whose text the other has too")
    examples: list[str] = Field(default_factory=list, description="ids of the split")


class VocabularyFacts(Spec):
    """A vocabulary that comes with the data, against the captions."""

    file: str
    words: int
    not_in_train: int = Field(description="words that no training caption holds")
    only_elsewhere: int = Field(description="of these, words that validation or test captions hold")
    listed: dict[str, int] = Field(default_factory=dict, description="of those -> occurrences outside of train")
    unknown_in_train: int = Field(description="training words that it lacks")
    unknown_occurrences_percent: float = Field(description="share of the training captions' words that it lacks")


class Sample(Spec):
    """An image to be shown, with its captions."""

    split: str
    image_id: str
    captions: list[str]


class Description(Spec):
    """A described dataset."""

    schema_version: int = SCHEMA_VERSION
    title: str
    layout: str
    root: str = Field("", description="the folder; empty for generated data")
    evidence: str = Field("", description="why the folder was taken for this layout")
    options: dict[str, str] = Field(default_factory=dict, description="options of the dataset that were set")
    quick: bool = Field(False, description="no image was decoded")
    near_bits: int = Field(description="images are near-duplicates up to so many differing bits")
    splits: list[SplitFacts]
    vocabulary: VocabularyFacts | None = None
    duplicates: list[Duplicates] = Field(default_factory=list)
    pairs: list[Pair] = Field(default_factory=list, description="the nearest ones, between splits first")
    contamination: list[Contamination] = Field(default_factory=list)
    samples: list[Sample] = Field(default_factory=list)
    decided: list[str] = Field(default_factory=list, description="what the layout's reader decided, line by line")

    def split(self, name: str) -> SplitFacts | None:
        """The facts of a split, None where there is none of this name."""
        return next((split for split in self.splits if split.name == name), None)
