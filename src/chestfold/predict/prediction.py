"""What the folds predict for one image, and what must be read beside it."""

from dataclasses import dataclass

from chestfold.predict.remarks import Kind, Remark
from chestfold.predict.seen import Seen

NOTICE = "Not for clinical use"


@dataclass(frozen=True)
class Prediction:
    """What the folds predict for one image.

    `probabilities`: the mean over the folds, by class; `folds`: those of each fold, and `fold_decisions` what each
    would decide. `ood_score`: the distance from the training images over the one within which 95 % of the validation
    images are; None where it cannot be told. `no_lungs`: why no lungs were found, where the networks want them cut out;
    the image is left unmasked then. `seen`: that the image was trained on; where a fold has not seen it, that one
    alone has answered. `model`: what must be read beside all predictions of the model.
    """

    probabilities: dict[str, float]
    folds: tuple[dict[str, float], ...]
    ood_score: float | None
    no_lungs: str = ""
    decided: str = ""
    fold_decisions: tuple[str, ...] = ()
    seen: Seen | None = None
    model: tuple[Remark, ...] = ()

    @property
    def decision(self) -> str:
        """What is decided at 0.5: a class or grade; of several labels those that are there, joined by `|`, or `-`."""
        return self.decided or self.label

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """Of the most probable class."""
        return self.probabilities[self.label]

    @property
    def spread(self) -> dict[str, tuple[float, float]]:
        """Class -> the lowest and the highest probability of a fold."""
        ends = {}
        for name in self.probabilities:
            of_folds = [fold[name] for fold in self.folds]
            ends[name] = (min(of_folds), max(of_folds))
        return ends

    @property
    def out_of_distribution(self) -> bool | None:
        """Whether the image is unlike the training data; None where it cannot be told."""
        return None if self.ood_score is None else self.ood_score > 1

    @property
    def folds_disagree(self) -> bool:
        """Whether a fold decides otherwise than their mean: then other training images would give another answer.

        A distance between the lowest and the highest probability would say less: from 0.55 to 0.95 all decide the same,
        and from 0.45 to 0.60 they do not.
        """
        return any(decision != self.decision for decision in self.fold_decisions)

    @property
    def remarks(self) -> list[Remark]:
        """All that must be read beside it, the worst first."""
        remarks = [*self.model]
        if self.seen:
            remarks.append(_remark_on(self.seen))
        if self.out_of_distribution:
            remarks.append(Remark(Kind.UNLIKE, {"times": f"{self.ood_score:.1f}"}))
        if self.folds_disagree:
            agree = self.fold_decisions.count(self.decision)
            values = {"agree": str(agree), "folds": str(len(self.folds)), "decision": self.decision}
            remarks.append(Remark(Kind.DISAGREE, values))
        if self.out_of_distribution is None:
            remarks.append(Remark(Kind.UNKNOWN))
        if self.no_lungs:
            remarks.append(Remark(Kind.NO_LUNGS, {"reason": self.no_lungs}))
        return remarks


def _remark_on(seen: Seen) -> Remark:
    values = {"image": seen.image}
    if not seen.unseen_by:
        return Remark(Kind.TRAINED_ON, values, seen.same_file)
    fold = ", ".join(map(str, dict.fromkeys(seen.unseen_by)))
    return Remark(Kind.ANSWERED, values | {"fold": fold}, seen.same_file)
