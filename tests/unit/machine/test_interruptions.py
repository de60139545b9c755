"""What is asked of a process is done, whatever libraries make of the interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest

from harness.machine.interruptions import Interruptions, interruptions, stop_if_asked
from harness.machine.turnstile import pass_by


def test_a_signal_is_one_interrupt_however_often_a_terminal_and_a_wrapper_send_it():
    with interruptions() as signals:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # at once: the same wish
        assert signals.received == signal.SIGTERM


@pytest.mark.parametrize("point", [stop_if_asked, pass_by])
def test_an_interrupt_that_a_library_lost_comes_back_between_two_pieces_of_work(point):
    with interruptions():
        point()
        with suppress(BaseException):  # as libraries do
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            point()
    point()  # nothing is left for the next command of this process


def serialize():
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt as error:
        raise ValueError("Error serializing to JSON") from error


def test_an_error_that_a_library_made_of_the_interrupt_is_the_interrupt():
    with interruptions() as signals, pytest.raises(KeyboardInterrupt), signals.told():
        serialize()


def test_an_error_without_a_signal_stays_what_it_is():
    with interruptions() as signals, pytest.raises(ValueError, match="mine"), signals.told():
        raise ValueError("mine")


def test_handlers_are_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptions():
        assert isinstance(signal.getsignal(signal.SIGTERM), Interruptions)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
@pytest.mark.parametrize("event", ["pass", "signal.raise_signal(signal.SIGTERM)", "child()"])
def test_no_thread_and_no_open_file_is_left_behind(event):
    program = f"""
        import os, signal, threading, time
        from contextlib import suppress
        from harness.machine.interruptions import interruptions
        held = lambda: (len(os.listdir("/proc/self/fd")), threading.active_count())
        children = []
        def child():
            children.append(os.fork())
            if children[-1] == 0:
                time.sleep(60)  # holds what its parent had opened
                os._exit(0)
        before = held()
        for _ in range(20):
            with suppress(KeyboardInterrupt), interruptions():
                {event}
            assert held() == before, (held(), before)
        for number in children:
            os.kill(number, signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=50, check=True)


def test_a_process_that_loses_every_interrupt_is_ended():
    program = """
        import signal, time
        from harness.machine.interruptions import Interruptions, listen
        signals = Interruptions()
        listen(signals, [signal.SIGTERM])
        with signals.in_time(0.2):
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                pass
            print("lost", flush=True)
            while True:
                time.sleep(60)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == "lost\n"
    assert done.stderr == "itm: interrupted, and ended in the middle of its work; the same command continues\n"
