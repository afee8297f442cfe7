"""The pool of processes: they leave Ctrl-C to their parent, and work on."""

import os
import signal

import pytest

from iseg_cli.execution.processes import Processes, available_cores


def test_a_worker_does_not_hear_ctrl_c():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with Processes(1) as pool:
        worker = pool.submit(os.getpid).result()
        assert worker != os.getpid()
        # Held from its first moment, when no program of ours could have asked for it.
        assert signal.SIGINT in pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result()
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_pillow_is_as_quiet_in_a_worker_as_in_a_command():
    with Processes(1) as pool:
        filters = pool.submit(eval, "str(__import__('warnings').filters)").result()
    assert "PIL" in filters


def test_an_error_in_the_block_ends_them_at_once():
    with pytest.raises(KeyError), Processes(1) as pool:  # noqa: PT012
        waiting = pool.submit(eval, "__import__('time').sleep(600)")
        pool.submit(os.getpid)
        raise KeyError
    assert waiting.exception() is not None


def test_what_a_task_raises_is_raised_here():
    with pytest.raises(ZeroDivisionError), Processes(1) as pool:
        pool.submit(divmod, 1, 0).result()


def test_the_cores_are_those_the_process_may_use():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
