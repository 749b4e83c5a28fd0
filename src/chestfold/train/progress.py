"""What the panel shows of a fold in training: an estimate of its time, the monitored figure, the best epoch."""

from dataclasses import dataclass, field

from chestfold.core.config import Experiment
from chestfold.core.console import forward
from chestfold.core.panel import FoldStatus
from chestfold.core.run_folder import History


@dataclass
class FoldClock:
    """Estimates how long a fold takes, from the epochs that this process has trained.

    `predicted_later`: images that the network sees after the last epoch, counted as often as it sees them.
    """

    predicted_later: int = 0
    epoch_seconds: list[float] = field(default_factory=list)
    seconds_later: float = 0.0

    def add_epoch(self, training: float, share: float, validation: float, validated: int) -> None:
        """Note the seconds of an epoch's two parts.

        `share` of its batches were trained, 0 to 1: a resumed run may have trained the others, or all, before.
        `validated` images were predicted in the second part.
        """
        if share:
            self.epoch_seconds.append(training / share + validation)
        if validated:
            self.seconds_later = validation / validated * self.predicted_later

    def seconds(self, epochs: int) -> float | None:
        """Of so many epochs and what comes after them; None before the first."""
        if not self.epoch_seconds:
            return None
        return epochs * sum(self.epoch_seconds) / len(self.epoch_seconds) + self.seconds_later


def show_fold(
    exp: Experiment, history: History, best: int, epochs_left: int, clock: FoldClock, images_per_second: float = 0.0
) -> None:
    """Send a fold's status to the panel; `best`: number of its best epoch, 0 where none is chosen."""
    values = [row[exp.monitor] for row in history if exp.monitor in row]
    status = FoldStatus(
        metric=exp.monitor,
        values=tuple(values),
        best=best,
        images_per_second=images_per_second,
        seconds_left=clock.seconds(epochs_left),
        seconds=clock.seconds(len(history) + epochs_left),
    )
    forward("fold", status)
