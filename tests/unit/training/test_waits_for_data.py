"""What a training's waits for data cost, and the advice that follows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from harness.training.feeding import waiting
from harness.training.feeding.waiting import Waiting, told_waiting

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("work", "workers", "spare", "says", "leaves_out"),
    [
        ("originals", 0, 3, ["set feeding.workers=3 (now 0)", "image_augmentation=flip"], ["ITM_CACHE_GIB"]),
        ("squares", 1, 5, ["set feeding.workers=5 (now 1)", "ITM_CACHE_GIB=14 (now 8)"], ["flip"]),
        ("copies", 0, 1, ["set feeding.workers=1 (now 0)"], ["ITM_CACHE_GIB", "flip"]),
        ("originals", 1, 1, ["take all cores: give the run more", "image_augmentation=flip"], ["set feeding.workers"]),
        ("copies", 0, 0, ["take all cores: give the run more"], ["set feeding.workers"]),
    ],
)
def test_the_advice_is_for_the_cause(monkeypatch, caplog, work, workers, spare, says, leaves_out):
    caplog.set_level("INFO")
    monkeypatch.delenv("ITM_CACHE_GIB", raising=False)
    monkeypatch.setattr(waiting, "spare_cores", lambda _: spare)
    fed = SimpleNamespace(reader=SimpleNamespace(work=work, needed_gib=13.2), workers=workers, device=CPU)
    figures = told_waiting("scan seed 3", Waiting([300.0] * 5, [1000.0] * 5), fed)
    assert figures == {"train_waiting_percent": pytest.approx(30)}
    (line,) = caplog.messages
    assert line.startswith("scan seed 3 waited for data 30 % of its time (2 s): ")
    assert all(text in line for text in says)
    assert not any(text in line for text in leaves_out)


@pytest.mark.parametrize(
    ("waits", "steps", "percent"),
    [
        ([40.0] * 100, [1000.0] * 100, 4.0),  # little of the time
        ([300.0], [1000.0], 30.0),  # little time
        ([100.0], [5000.0, 400.0], 25.0),  # the first step is of a version that did not measure waits
        ([], [10.0], None),
    ],
)
def test_a_wait_that_costs_nobody_anything_is_not_told(caplog, waits, steps, percent):
    caplog.set_level("INFO")
    figures = told_waiting("scan seed 3", Waiting(waits, steps), SimpleNamespace())
    assert figures == ({} if percent is None else {"train_waiting_percent": pytest.approx(percent)})
    assert not caplog.messages
