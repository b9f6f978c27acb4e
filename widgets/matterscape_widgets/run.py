"""Run: a long computation in the background, with progress and a cancel button, while the kernel stays free."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
import traitlets

from .study import Line, sentence

REFRESH = 0.05  # seconds between two messages to the front end


class Run(ipywidgets.VBox):
    """A button that runs a function in a thread.

    The function is called as ``function(progress, cancelled, **arguments)``. It calls
    ``progress(fraction, message="", partial=None)`` now and then, and returns early once ``cancelled()`` is true.
    What was last given as `partial`, and what the function returns after a cancel, is kept.

    Parameters
    ----------
    function : callable
        The computation.
    label : str
        Text of the button.
    arguments : dict or callable returning a dict, optional
        Keyword arguments for a run started by the button; a callable is asked at that moment.

    Attributes
    ----------
    state : {"idle", "running", "done", "cancelled", "failed"}
        Where the run stands; observe it, or use `on_done`.
    result : object
        What the function returned; None before the end.
    partial : object
        The last partial result.
    exception : Exception or None
        What the function raised.
    error : str
        The same as one sentence; empty when all is well.
    """

    state = traitlets.Enum(["idle", "running", "done", "cancelled", "failed"], "idle", read_only=True)
    error = traitlets.Unicode("", read_only=True)

    def __init__(
        self,
        function: Callable[..., Any],
        label: str = "Run",
        *,
        arguments: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    ):
        if not callable(function):
            raise TypeError(f"function must be callable, but is {type(function).__name__}.")
        self.function = function
        self.arguments = arguments
        self.result = self.partial = self.exception = None
        self._callbacks: list[Callable[[Run], None]] = []
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._outcome: tuple[Any, Exception | None] | None = None
        self._latest = (0.0, "")
        self._began = self._sent = 0.0
        # The kernel's loop, where every change of a widget and every callback has to happen.
        self._loop = _running_loop()
        auto = ipywidgets.Layout(width="auto")
        self._start = ipywidgets.Button(description=label, button_style="primary", layout=auto)
        self._start.on_click(lambda _: self._clicked())
        self._stop = ipywidgets.Button(description="Cancel", disabled=True, layout=auto)
        self._stop.on_click(lambda _: self.cancel())
        self._bar = ipywidgets.FloatProgress(min=0, max=1, layout=ipywidgets.Layout(flex="1 1 80px", min_width="60px"))
        self._text = Line(kind="status")
        super().__init__([ipywidgets.HBox([self._start, self._bar, self._stop]), self._text])
        self.add_class("matterscape-run")

    def start(self, **arguments: Any) -> None:
        """Start the function with these keyword arguments.

        Raises
        ------
        RuntimeError
            If it is still running.
        """
        if self.state == "running":
            raise RuntimeError("The run has not ended yet; cancel it before starting another.")
        self._loop = self._loop or _running_loop()
        self._cancel = threading.Event()
        self.result = self.partial = self.exception = self._outcome = None
        self._latest, self._began, self._sent = (0.0, ""), time.monotonic(), 0.0
        self.set_trait("error", "")
        self.set_trait("state", "running")
        self._start.disabled, self._stop.disabled = True, False
        self._bar.bar_style = ""
        self._thread = threading.Thread(target=self._work, args=(arguments,), daemon=True)
        self._thread.start()
        if self._loop is not None:
            self._deliver(self._tick)

    def cancel(self) -> None:
        """Ask the function to stop; it does so the next time it looks at `cancelled()`."""
        if self.state == "running":
            self._cancel.set()
            self._stop.disabled = True
            self._show()

    def wait(self, timeout: float | None = None) -> Run:
        """Block until the function has ended; returns the run itself.

        Raises
        ------
        TimeoutError
            If it has not ended after `timeout` seconds.
        """
        thread = self._thread  # a callback may start another run, with a thread of its own
        if thread is not None:
            thread.join(timeout)
            if thread.is_alive():
                raise TimeoutError(f"The run has not ended after {timeout} s.")
            self._finish()
        return self

    def on_done(self, callback: Callable[[Run], None]) -> None:
        """Call ``callback(run)`` in the kernel's main thread when a run has ended, however it ended."""
        self._callbacks.append(callback)

    def progress(self, fraction: float, message: str = "", partial: Any = None) -> None:
        """What the function calls: how much is done (0 to 1), what is being done, and what there is to keep."""
        if partial is not None:
            self.partial = partial
        self._latest = (min(1.0, max(0.0, float(fraction))), message)
        now = time.monotonic()
        if now - self._sent >= REFRESH:
            self._sent = now
            self._deliver(self._show)

    def _work(self, arguments: dict) -> None:
        try:
            self._outcome = (self.function(self.progress, self._cancel.is_set, **arguments), None)
        except Exception as error:
            self._outcome = (None, error)
        self._deliver(self._finish)

    def _deliver(self, action: Callable[[], None]) -> None:
        """Do something to the widgets from any thread."""
        if self._loop is None or self._loop.is_closed():
            action()
        else:
            self._loop.call_soon_threadsafe(action)

    def _finish(self) -> None:
        if self._outcome is None or self.state != "running":
            return
        self.result, self.exception = self._outcome
        if self.exception is not None:
            state, style = "failed", "danger"
            self.set_trait("error", sentence(self.exception))
        elif self._cancel.is_set():
            state, style = "cancelled", "warning"
        else:
            state, style = "done", "success"
            self._latest = (1.0, self._latest[1])
        self._start.disabled, self._stop.disabled = False, True
        self._bar.bar_style = style
        self.set_trait("state", state)
        self._show()
        for callback in self._callbacks:
            try:
                callback(self)
            except Exception as error:  # nobody else would show it
                self.set_trait("error", sentence(error))
                self._show()

    def _tick(self) -> None:
        if self.state == "running":
            self._show()
            self._loop.call_later(1.0, self._tick)

    def _show(self) -> None:
        fraction, message = self._latest
        elapsed = time.monotonic() - self._began
        self._bar.value = fraction
        if self.error:
            kind, what, figures = "error", self.error, []
        elif self.state == "running":
            kind, what = "status", "Cancelling" if self._cancel.is_set() else message or "Running"
            left = [f"{_duration(elapsed * (1 / fraction - 1))} left"] if fraction > 0.02 else []
            figures = [f"{100 * fraction:.0f} %", f"{_duration(elapsed)} gone", *left]
        else:
            kind, what, figures = "status", self.state.capitalize(), [f"after {_duration(elapsed)}"]
            if self.state == "cancelled" and (self.partial is not None or self.result is not None):
                figures.append("what was computed is kept")
        with self._text.hold_sync():
            self._text.kind = kind
            self._text.text = " · ".join([what, *(figure.replace(" ", "\N{NO-BREAK SPACE}") for figure in figures)])

    def _clicked(self) -> None:
        try:
            arguments = self.arguments() if callable(self.arguments) else self.arguments or {}
            self.start(**arguments)
        except Exception as error:  # of the arguments callable; a log would hide it
            self.set_trait("error", sentence(error))
            self._show()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 99.5 else f"{minutes / 60:.1f} h"
