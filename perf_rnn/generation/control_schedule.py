"""Control over time: the control vectors of a conditioned model at each step of a piece."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bundles
from bundles.errors import PerfRnnError
from perf_rnn.configs import default_configs
from perf_rnn.events.controls import Conditioning, disabled_values


def spread_index(steps: NDArray[np.int64], count: int, num_steps: int | None) -> NDArray[np.int64]:
    """Returns which of `count` values, spread evenly over `num_steps`, holds at each step.

    The last one holds from there on. Magenta 2.1.4 spreads its controls so.

    >>> spread_index(np.array([0, 49, 50, 99, 1000]), 2, 100).tolist()
    [0, 0, 1, 1, 1]

    Raises:
      ValueError: there are several values, and no `num_steps` to spread them over.
    """
    if num_steps is None:
        if count > 1:
            raise PerfRnnError(
                f"a list of {count} values needs a piece of known length to spread over"
            )
        return np.zeros_like(steps)
    return np.minimum(steps * count // num_steps, count - 1)


class ControlSchedule:
    """The control vectors of a piece, by step: each signal's values spread evenly over it.

    >>> from perf_rnn.configs import get_config
    >>> density = get_config("density_conditioned_performance_with_dynamics").conditioning
    >>> schedule = ControlSchedule(density, {"notes_per_second": [3, 20]}, num_steps=3000)
    >>> schedule(np.array([0, 1499, 1500, 9000])).argmax(axis=1).tolist()
    [2, 2, 5, 5]
    """

    def __init__(
        self,
        conditioning: Conditioning,
        values: Mapping[str, Any] | None = None,
        num_steps: int | None = None,
        disabled: bool | list[bool] | None = None,
    ):
        """Encodes what is asked for.

        Args:
          conditioning: of the model's config.
          values: for each signal, by name, a value or a list of them. A signal that is not named
            has its default, encoded as Magenta 2.1.4 does.
          num_steps: length of the piece that lists are spread over, primer included; None: it has
            no end, and there are no lists.
          disabled: whether conditioning is disabled, for a model where it is optional: a bool or a
            list of them.

        Raises:
          ValueError: the model does not have such a control, a value is none of its signal's, a
            list is empty or has no `num_steps`, or `num_steps` is not above 0.
        """
        values = values or {}
        if num_steps is not None and num_steps < 1:
            raise PerfRnnError(f"num_steps {num_steps} is not above 0")
        signals = conditioning.signals
        check_controls(conditioning, values)
        if disabled is not None:
            check_optional(conditioning, "disable_conditioning")
        # For each signal the vectors of its values, then whether it is disabled.
        lists: list[Any] = [
            signal.encode_request(signal.values(values[signal.name]))
            if signal.name in values
            else signal.encode([signal.default])
            for signal in signals
        ]
        lists.append(np.array([False] if disabled is None else disabled_values(disabled)))

        # Where any of the lists changes to its next value.
        starts = {0}
        for each in lists:
            if len(each) > 1 and num_steps is not None:
                starts.update(-(-i * num_steps // len(each)) for i in range(1, len(each)))
        self._starts = np.array(sorted(starts))
        *chosen, off = (each[spread_index(self._starts, len(each), num_steps)] for each in lists)
        self._vectors = conditioning.join(chosen, off)

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the control vectors, float32 [B, control_size], at steps [B] of the piece."""
        return self._vectors[self._starts.searchsorted(steps, side="right") - 1]


def check_controls(conditioning: Conditioning, names: Iterable[str]) -> None:
    """Raises the PerfRnnError of a control that the model does not have, if one is named."""
    for name in names:
        if name not in {signal.name for signal in conditioning.signals}:
            raise _no_such_control(name)


def check_optional(conditioning: Conditioning, option: str) -> None:
    """Raises the PerfRnnError of an option that needs optional conditioning, if it is not."""
    if not conditioning.optional:
        raise _lacks(option, lambda conditioning: conditioning.optional)


def _no_such_control(name: str) -> PerfRnnError:
    known = {s.name: None for c in default_configs.values() for s in c.conditioning.signals}
    if name not in known:
        names = ", ".join([*known, "disable_conditioning"])
        return PerfRnnError(f"there is no control {name!r}; known: {names}")
    return _lacks(name, lambda conditioning: name in [s.name for s in conditioning.signals])


def _lacks(what: str, has: Callable[[Conditioning], bool]) -> PerfRnnError:
    """The error that says which configs have what this one lacks."""
    keys = [config.key for config in default_configs.values() if has(config.conditioning)]
    line = f"this model has no {what}; those of these configs have: {', '.join(keys)}"
    for key in keys:
        with contextlib.suppress(bundles.BundleError):
            bundles.shipped_bundle_path(key)
            line += f"; a bundle is shipped for config={key}"
    return PerfRnnError(line)
