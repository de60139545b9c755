"""CPUs that a process may use: bound to, and allowed by the quotas of its control groups."""

import os

import pytest

from harness.machine import cpus
from harness.machine.cpus import Share, own_cpus, quotas, usable_cpus


def groups(folder, files: dict[str, str]):
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "cgroup"


@pytest.mark.parametrize(
    ("own", "files", "allowed"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"cpu.max": "max 100000\n"}, []),
        ("0::/\n", {}, []),  # the root of a machine has no such file
        ("0::/job/step\n", {"job/cpu.max": "400000 100000\n", "job/step/cpu.max": "max 100000\n"}, [4.0]),
        ("0::/job/step\n", {"cpu.max": "200000 100000\n"}, [2.0]),  # a container, which sees its own group at the root
        ("4:cpu,cpuacct:/job\n3:memory:/job\n", {"cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n",
          "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}, [0.5]),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, []),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "0\n"}, []),
        ("nonsense\n", {"cpu.max": "nonsense"}, []),
        ("0::/../other\n", {"cpu.max": "100000 100000\n"}, []),  # a group beyond the container's namespace
    ],
)  # fmt: skip
def test_quotas(tmp_path, own, files, allowed):
    told = tmp_path / "own"
    told.write_text(own)
    assert list(quotas(told, groups(tmp_path, files))) == allowed


def test_where_there_are_no_control_groups_there_is_no_quota(tmp_path):
    assert list(quotas(tmp_path / "missing", tmp_path)) == []


@pytest.mark.parametrize(
    ("bound", "quota", "usable"), [(8, [], 8), (8, [3.7], 3), (8, [16.0], 8), (8, [6.0, 2.0], 2), (8, [0.5], 1)]
)
def test_a_quota_leaves_whole_cpus_and_one_at_least(monkeypatch, bound, quota, usable):
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    monkeypatch.setattr(cpus, "quotas", lambda: iter(quota))
    assert usable_cpus() == usable


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes to CPUs")
def test_a_process_that_is_bound_to_one_cpu_has_one():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("share", "own"), [(Share(), 8), (Share(2, 3), 3), (Share(2), 8), (Share(1, 64), 8)])
def test_a_worker_fills_its_share(monkeypatch, share, own):
    monkeypatch.setattr(cpus, "usable_cpus", lambda: 8)
    monkeypatch.setattr(cpus, "_share", share)
    assert own_cpus() == own
