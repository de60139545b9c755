"""`itm import-checkpoint`: an authors' checkpoint of SCAN or CHAN as a safetensors model of this harness."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import NamedPath
from harness.cli.terminal import say


@click.command()
@click.argument("scorer", metavar="SCORER")
@click.argument("checkpoint", metavar="CHECKPOINT", type=NamedPath())
@click.argument("output", metavar="OUTPUT", type=NamedPath())
@click.option(
    "--vocabulary",
    metavar="PATH",
    help="Vocabulary JSON that it was trained with; for BERT the folder of its tokenizer.",
)
def import_checkpoint(scorer: str, checkpoint: Path, output: Path, vocabulary: str | None) -> int:
    """Convert CHECKPOINT, as the authors of SCORER (scan or chan) save it, into the model OUTPUT (.safetensors).

    Its pickle is read by PyTorch's restricted reader: a file that asks for code is refused, never executed. The model
    scores as the authors' code does, and `harness.runs.saved_models.load_model` loads it.
    """
    from harness.errors import InvalidSpec
    from harness.runs import saved_models

    if output.suffix != ".safetensors":
        raise InvalidSpec(
            f"models are kept as .safetensors files; name the output {output.stem}.safetensors, got {output}"
        )
    model = saved_models.import_checkpoint(checkpoint, scorer, vocabulary=vocabulary)
    saved_models.save_model(model, output, origin="official weights")
    width = model.encoders[0].width
    settings = ", ".join(f"{key}={value}" for key, value in model.config.model_dump().items())
    say(f"{output}: {scorer} ({settings}), width {width}")
    return 0
