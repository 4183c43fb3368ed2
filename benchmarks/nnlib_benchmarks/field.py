"""All contestants of one workload: starting them, taking turns, handling failures."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from nnlib_benchmarks.contestants import BackendContestant, MakeTrainee, Trainee, initial_weights
from nnlib_benchmarks.errors import PeerError, UnsuitablePeerError
from nnlib_benchmarks.progress import Progress
from nnlib_benchmarks.records import Contestant, Missing
from nnlib_benchmarks.timing import affordable, interleave
from nnlib_benchmarks.workloads.base import Budget, Workload

T = TypeVar("T")

LEAST_ROUNDS = 3  #: least number of turns of each contestant

SETTLE = 0.15
"""Seconds between turns: thread pools spin on after their last work and slow down whoever comes
next.  OpenBLAS's do so longest, about 30 ms; PyTorch's LeNet step took 6 ms without this pause,
3 ms with it.  A test holds that every peer's process is idle after it."""


class Field:
    """All contestants of a workload, with their models made from the same weights.

    Parameters
    ----------
    workload : Workload
        The workload to train.
    contestants : sequence of Contestant
        The first is the reference, without which nothing is measured.
    makers : mapping
        Name → function that makes the trainee of a contestant in a separate process; the others
        are backends in this process.
    seed : int
        For the initial weights and the order of the samples.
    progress : Progress
        Updated after every turn.

    Attributes
    ----------
    trainees : dict
        Name → trainee, without failed ones.
    absent : list of Missing
        Contestants that cannot express the workload (reason ``"unsuitable"``) or failed
        (``"failed"``).
    parameters : int
        Of the model.
    """

    def __init__(
        self,
        workload: Workload,
        contestants: Sequence[Contestant],
        makers: Mapping[str, MakeTrainee],
        seed: int,
        progress: Progress,
    ) -> None:
        self._workload, self._progress = workload, progress
        self._reference = contestants[0].name
        self.trainees: dict[str, Trainee] = {}
        self.absent: list[Missing] = []
        # The weights are freed after this call: VGG-16's take half a gigabyte.
        model, weights, build_s = initial_weights(workload, seed)
        self.parameters = sum(p.size for p in model.parameters())
        try:
            for name in (c.name for c in contestants):
                try:
                    if name in makers:
                        trainee = makers[name](workload, weights, seed)
                    else:
                        made = (model, build_s) if name == "numpy" else None
                        trainee = BackendContestant(name, workload, weights, seed, made)
                except Exception as error:  # noqa: BLE001 - noted; the others go on
                    self._drop(name, error)
                else:
                    self.trainees[name] = trainee
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Field:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free all memory."""
        for trainee in self.trainees.values():
            trainee.close()
        self.trainees.clear()
        gc.collect()

    def each(self, what: str, action: Callable[[Trainee], T]) -> dict[str, T]:
        """Call a function of each trainee in order; remove those that fail."""
        self._progress.stage(f"{self._workload.name}: {what}", len(self.trainees))
        return {name: v for name in list(self.trainees) for v in self._turn(name, action)}

    def turns(
        self, what: str, steps: int, action: Callable[[Trainee, int], None], chain: int = 1
    ) -> int:
        """Run at least `steps` steps of each trainee, in blocks, A B A B; return their number.

        A block is a multiple of `chain` steps.
        """
        block = min(self._workload.plan.block, -(-steps // LEAST_ROUNDS))
        block = -(-block // chain) * chain
        rounds = -(-steps // block)
        self._progress.stage(f"{self._workload.name}: {what}", rounds * len(self.trainees))
        for name in interleave(list(self.trainees), rounds):
            if name in self.trainees:
                self._turn(name, lambda trainee: action(trainee, block))
        return rounds * block

    def _turn(self, name: str, action: Callable[[Trainee], T]) -> list[T]:
        """Run one trainee; return its result, or None if it failed."""
        found = []
        if len(self.trainees) > 1:
            time.sleep(SETTLE)
        try:
            found.append(action(self.trainees[name]))
        except Exception as error:  # noqa: BLE001 - noted; the others go on
            with suppress(Exception):  # closing may fail, too
                self.trainees.pop(name).close()
            self._drop(name, error)
        self._progress.advance()
        return found

    def _drop(self, name: str, error: Exception) -> None:
        """Note why a contestant is not measured; raise if it is the reference."""
        if name == self._reference:
            if isinstance(error, PeerError):
                raise error
            raise PeerError(_in_words(error)) from error
        self.absent.append(missing(name, error))
        if self.absent[-1].reason == "failed":
            reason = self.absent[-1].detail
            self._progress.note(f"{self._workload.name} continues without {name}: {reason}")


def missing(name: str, error: Exception) -> Missing:
    """Make the record of a contestant that does not take part."""
    if isinstance(error, UnsuitablePeerError):
        return Missing(name, "unsuitable", str(error), remedy="")
    words = str(error) if isinstance(error, PeerError) else _in_words(error)
    return Missing(name, "failed", words, remedy="")


def _in_words(error: Exception) -> str:
    """Describe an error in a backend of this process with its location."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.filename}, line {where.lineno})"


def steps_within(budget: Budget, warmups: Mapping[str, Sequence[float]]) -> int:
    """Number of steps that fit into a budget for all, by the fastest samples so far.

    Examples
    --------
    >>> steps_within(Budget(seconds=3.0, least=2, most=9), {"a": [5.0, 0.2], "b": [0.3]})
    6
    """
    round_s = sum(min(seconds) for seconds in warmups.values())
    return affordable(round_s, budget.seconds, budget.least, budget.most)
