"""Run: threads, progress, cancelling and errors, with and without an event loop."""

import asyncio
import threading

import pytest

from matterscape_widgets import Run

pytestmark = pytest.mark.unit


def count(progress, cancelled, steps=5, gate=None):
    for step in range(steps):
        if cancelled():
            return step
        progress((step + 1) / steps, f"step {step}", partial=step)
        if gate is not None:
            gate.wait(5)
    return steps


def test_done():
    run = Run(count)
    ended = []
    run.on_done(lambda r: ended.append(r.state))
    run.start(steps=3)
    run.wait(5)
    assert (run.state, run.result, run.partial, run.error, ended) == ("done", 3, 2, "", ["done"])
    assert run._bar.value == 1


def test_cancel_keeps_what_is_done():
    gate, run = threading.Event(), Run(count)
    run.start(steps=100, gate=gate)
    assert run.state == "running"
    with pytest.raises(RuntimeError, match="has not ended yet"):
        run.start()
    with pytest.raises(TimeoutError, match=r"after 0\.01 s"):
        run.wait(0.01)
    run.cancel()
    gate.set()
    run.wait(5)
    assert run.state == "cancelled"
    assert run.result == run.partial + 1
    assert run._text.text.endswith("what was computed is kept".replace(" ", "\N{NO-BREAK SPACE}"))


def test_failure_is_a_sentence_and_keeps_the_partial_result():
    def fails(progress, cancelled):
        progress(0.5, partial="half")
        raise ValueError("cutoff is -1, but must be positive.")

    run = Run(fails)
    run.start()
    run.wait(5)
    assert (run.state, run.error, run.partial) == ("failed", "cutoff is -1, but must be positive.", "half")
    assert isinstance(run.exception, ValueError)
    assert (run._text.kind, run._text.text) == ("error", run.error)
    assert not run._start.disabled


def test_it_can_run_again_after_a_failure():
    outcomes = iter([ZeroDivisionError("division by zero"), None])

    def sometimes(progress, cancelled):
        if problem := next(outcomes):
            raise problem
        return "fine"

    run = Run(sometimes)
    run.start()
    assert run.wait(5).error == "ZeroDivisionError: division by zero"
    run.start()
    assert (run.wait(5).state, run.result, run.error) == ("done", "fine", "")


def test_callbacks_come_in_the_thread_of_the_loop_which_stays_free():
    async def main():
        run, where, turns = Run(count), [], 0
        gate = threading.Event()
        run.on_done(lambda r: where.append(threading.current_thread()))
        run.start(steps=2, gate=gate)
        while run.state == "running":
            turns += 1
            if turns == 20:
                gate.set()
            await asyncio.sleep(0.005)
        return run, where, turns

    run, where, turns = asyncio.run(main())
    assert run.state == "done"
    assert where == [threading.main_thread()]
    assert turns >= 20


def test_the_button_asks_for_its_arguments():
    run = Run(count, arguments=lambda: {"steps": 4})
    run._start.click()
    assert run.wait(5).result == 4
    wrong = Run(count, arguments=lambda: {}["missing"])
    wrong._start.click()
    assert wrong.state == "idle"
    assert "missing" in wrong.error


def test_a_failing_callback_is_shown():
    run = Run(count)

    def breaks(_):
        raise ValueError("the plot has no axes.")

    run.on_done(breaks)
    run.start()
    assert run.wait(5).error == "the plot has no axes."


def test_a_function_is_needed():
    with pytest.raises(TypeError, match="function must be callable, but is int"):
        Run(3)
