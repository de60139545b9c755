"""The turnstile, against clocks turned by hand: who comes in, who waits for whom, and that nobody waits for ever."""

import multiprocessing
import os
import sys
import threading
import time

import pytest

from harness.machine import turnstile
from harness.machine.turnstile import LONGEST_PAUSE_SECONDS, PATIENCE_SECONDS, Turnstile, pass_by, working_time

pytestmark = pytest.mark.skipif(turnstile.fcntl is None, reason="this system has no flock")

SPAWN = multiprocessing.get_context("spawn")


class Hours:
    """A clock that moves when somebody sleeps; what is planned for a time happens then."""

    def __init__(self):
        self.now, self.naps, self.plans = 0.0, 0, []

    def __call__(self) -> float:
        return self.now

    def at(self, seconds: float, action) -> None:
        self.plans.append((seconds, action))

    def sleep(self, seconds: float) -> None:
        self.now, self.naps = self.now + seconds, self.naps + 1
        due = [plan for plan in self.plans if plan[0] <= self.now]
        self.plans = [plan for plan in self.plans if plan[0] > self.now]
        for _, action in due:
            action()


class Worker(Turnstile):
    """One that passes by in a thread of its own."""

    def __init__(self, folder):
        super().__init__("cpu", folder, clock=lambda: 0.0, sleep=self._nap)
        self._waits, self._thread = threading.Event(), threading.Thread(target=self.pass_by)

    def _nap(self, seconds: float) -> None:
        self._waits.set()
        time.sleep(0.001)

    def pass_by_and_wait(self) -> None:
        """Begin to pass by; returns when it waits."""
        self._thread.start()
        assert self._waits.wait(30)

    def waits(self) -> bool:
        return self._thread.is_alive()

    def come_back(self) -> None:
        """Returns when it has passed."""
        self._thread.join(30)
        assert not self.waits()


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def process(tmp_path, hours):
    """What one process has of the turnstile; two of them have nothing in common but the folder."""
    return lambda: Turnstile("cpu", tmp_path, clock=hours, sleep=hours.sleep)


def test_any_number_work_at_once_and_none_of_them_waits(process, hours):
    workers = [process() for _ in range(3)]
    with workers[0].inside(), workers[1].inside(), workers[2].inside():
        for worker in workers:
            worker.pass_by()
    assert hours.now == 0.0


def test_a_measurement_begins_when_the_last_worker_passes_by_and_they_wait_until_it_is_over(tmp_path, process, hours):
    first, last = Worker(tmp_path), Worker(tmp_path)
    with first.inside(), last.inside():
        hours.at(1.0, first.pass_by_and_wait)
        hours.at(3.0, last.pass_by_and_wait)
        with process().alone() as alone:
            assert alone
            assert hours.now == pytest.approx(3.0, abs=0.1)
            assert first.waits()
            assert last.waits()
        first.come_back()
        last.come_back()
        with process().alone() as alone:
            assert not alone  # both are inside again


def test_a_worker_comes_in_after_the_measurement(process, hours):
    worker, measuring = process(), process().alone()
    assert measuring.__enter__()
    hours.at(5.0, lambda: measuring.__exit__(None, None, None))
    with worker.inside():
        assert hours.now == pytest.approx(5.0, abs=0.1)


def test_a_worker_that_never_passes_by_is_waited_for_in_vain(process, hours):
    worker, measurer = process(), process()
    with worker.inside(), measurer.alone() as alone:
        assert not alone
        assert hours.now == pytest.approx(PATIENCE_SECONDS, abs=0.1)


def test_a_measurer_that_never_ends_is_waited_for_once(process, hours, caplog):
    stopped, worker, other = process(), process(), process()
    with stopped.alone():
        with worker.inside():
            assert hours.now == pytest.approx(LONGEST_PAUSE_SECONDS, abs=0.1)
            for _ in range(100):
                worker.pass_by()
            assert hours.now == pytest.approx(LONGEST_PAUSE_SECONDS, abs=0.1)
        with other.alone() as alone:
            assert not alone
    assert len(caplog.messages) == 1
    assert "goes on beside it" in caplog.messages[0]


def test_a_worker_that_gave_up_takes_its_place_again(process, hours):
    worker = process()
    with process().alone():
        staying = worker.inside()
        staying.__enter__()
    worker.pass_by()
    with process().alone() as alone:
        assert not alone  # the worker is inside, and does not pass by
    staying.__exit__(None, None, None)


def test_two_that_measure_at_once_take_turns_though_both_work(tmp_path, process, hours):
    first, second = Worker(tmp_path), process()
    turns = []

    def measure() -> None:
        with first.alone() as alone:
            turns.append(alone)

    first._thread = threading.Thread(target=measure)
    with first.inside():
        with second.inside():
            hours.at(2.0, first.pass_by_and_wait)  # it waits for its own turn, outside of the room
            with second.alone() as alone:
                turns.append(alone)
                assert hours.now == pytest.approx(2.0, abs=0.1)
        first.come_back()
    assert turns == [True, True]


def test_entering_again_inside_is_counted(process, hours):
    worker, measurer = process(), process()
    with worker.inside():
        with worker.inside():
            pass
        with measurer.alone() as alone:
            assert not alone
    with measurer.alone() as alone:
        assert alone


def test_whoever_is_alone_passes_by_and_may_be_alone_again(process, hours):
    measurer = process()
    with measurer.inside(), measurer.alone() as outer, measurer.alone() as inner:
        measurer.pass_by()
        assert outer
        assert inner
    assert hours.now == 0.0


def test_an_error_leaves_nothing_behind(process, hours):
    with pytest.raises(ValueError, match="inside"), process().inside():
        raise ValueError("inside")
    with pytest.raises(ValueError, match="alone"), process().alone():
        raise ValueError("alone")
    with process().alone() as alone:
        assert alone
    assert hours.now == 0.0


def test_the_working_clock_stands_still_meanwhile(process, hours):
    worker, measuring = process(), process().alone()
    before = working_time(hours)
    measuring.__enter__()
    hours.at(5.0, lambda: measuring.__exit__(None, None, None))
    with worker.inside():
        hours.sleep(2.0)
    assert hours.now == pytest.approx(7.0, abs=0.1)
    assert working_time(hours) - before == pytest.approx(2.0)


def test_a_process_passes_all_that_it_is_inside_of(tmp_path, hours):
    """One that nobody wants alone costs no time, and one that this process is not inside of is nobody's business."""
    mine = [Turnstile(name, tmp_path, clock=hours, sleep=hours.sleep) for name in ("cpu", "gpu-1")]
    measuring = Turnstile("gpu-1", tmp_path, clock=hours, sleep=hours.sleep).alone()
    elsewhere = Turnstile("gpu-2", tmp_path, clock=hours, sleep=hours.sleep).alone()
    with elsewhere, mine[0].inside(), mine[1].inside():
        pass_by()
        assert hours.now == 0.0
        turnstile._unlock(mine[1]._room)  # as one that has passed by and not come back yet
        assert measuring.__enter__()
        hours.at(3.0, lambda: measuring.__exit__(None, None, None))
        pass_by()
        assert hours.now == pytest.approx(3.0, abs=0.1)
    pass_by()


def test_where_there_are_no_locks_everybody_passes(tmp_path, hours, caplog):
    turnstile._warn_once.cache_clear()
    missing = tmp_path / "missing"
    worker = Turnstile("cpu", missing, clock=hours, sleep=hours.sleep)
    with worker.inside(), Turnstile("cpu", missing, clock=hours, sleep=hours.sleep).alone() as alone:
        worker.pass_by()
        assert alone
    assert hours.now == 0.0
    assert len(caplog.messages) == 1
    assert "will not wait while one of them measures" in caplog.messages[0]


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(turnstile.os, "access", lambda *_: False)
    monkeypatch.setattr(turnstile.tempfile, "gettempdir", lambda: str(tmp_path))
    assert turnstile.shared_folder() == tmp_path / f"itm-{os.getuid()}"
    (tmp_path / f"itm-{os.getuid()}").rmdir()
    (tmp_path / f"itm-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="not a folder of this user"):
        turnstile.shared_folder()


def _hold(folder, what: str, begun, over) -> None:
    with getattr(Turnstile("cpu", folder), what)():
        begun.set()
        over.wait(60)


@pytest.mark.parametrize("what", ["inside", "alone"])
def test_the_locks_of_a_killed_process_are_free(tmp_path, hours, what):
    begun, over = SPAWN.Event(), SPAWN.Event()
    other = SPAWN.Process(target=_hold, args=(tmp_path, what, begun, over))
    other.start()
    try:
        assert begun.wait(60)
        mine = Turnstile("cpu", tmp_path, clock=hours, sleep=hours.sleep)
        with mine.alone() as alone:
            assert not alone  # it is another process's
        other.kill()
        other.join()
        hours.now = 0.0
        with mine.alone() as alone:
            assert alone
            assert hours.now == 0.0
    finally:
        other.kill()


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_does_not_hold_its_parents_place(tmp_path, hours):
    """A loader's worker that outlives a killed training would keep its locks."""
    worker = Turnstile("cpu", tmp_path, clock=hours, sleep=hours.sleep)
    with worker.inside():
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, b"%d %d" % (worker._room, len(turnstile._entered)))
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 64) == b"-1 0"
        with Turnstile("cpu", tmp_path, clock=hours, sleep=hours.sleep).alone() as alone:
            assert not alone  # the parent keeps its own
    os.close(reading)
    os.close(writing)
