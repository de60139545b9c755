"""Threads that wait: they sleep unless the user decided otherwise, and torch is told in time."""

import json
import os
import subprocess
import sys

import pytest

from harness.machine.waiting import sleep_while_waiting, wait_policy


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"OMP_WAIT_POLICY": "passive"}, "passive"),
        ({"OMP_WAIT_POLICY": ""}, {"OMP_WAIT_POLICY": "passive"}, "passive"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}, "active"),
        ({"GOMP_SPINCOUNT": "0"}, {"GOMP_SPINCOUNT": "0"}, "GOMP_SPINCOUNT=0"),
        ({"KMP_BLOCKTIME": "200"}, {"KMP_BLOCKTIME": "200"}, "KMP_BLOCKTIME=200"),
        (
            {"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "9"},
            {"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "9"},
            "OMP_WAIT_POLICY=active, GOMP_SPINCOUNT=9",
        ),
    ],
)
def test_what_the_user_decided_stays(before, after, told):
    environment = dict(before)
    sleep_while_waiting(environment)
    assert environment == after
    assert wait_policy(environment) == told


LOOK = """
import json, os, sys
import harness.cli.main as main
main.say = lambda *a, **k: None
main.cli.main = lambda *a, **k: print(json.dumps([os.environ.get("OMP_WAIT_POLICY"), "torch" in sys.modules]))
main.main([])
"""


@pytest.mark.parametrize(("own", "policy"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_the_command_line_decides_before_torch_is_loaded(own, policy):
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, env={**kept, **own})
    assert json.loads(done.stdout) == [policy, False], done.stderr
