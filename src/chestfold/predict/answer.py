"""What the local page answers to one picture: a record of everything that is shown, without any web server.

The file is read once and nothing is written.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chestfold.core.errors import InputError
from chestfold.data.decode import decode_native
from chestfold.evaluate.fonts import letter
from chestfold.explain.overlay import fitted, map_layer, png
from chestfold.predict.heatmap import LONGEST, SHORTEST, caption_lines, mean_maps, picture
from chestfold.predict.prediction import Prediction
from chestfold.predict.predictor import Predictor, ReadImage
from chestfold.predict.remarks import Language


@dataclass(frozen=True)
class ClassAnswer:
    """A class, its probability, and the lowest and highest one of a fold."""

    name: str
    probability: float
    low: float
    high: float


@dataclass(frozen=True)
class Answer:
    """What is said of one picture. `grey`: the picture as it is shown, uint8 (H, W); `file`: its name."""

    file: str
    image: ReadImage
    grey: np.ndarray

    @property
    def prediction(self) -> Prediction:
        """What the folds predict."""
        return self.image.prediction

    @property
    def classes(self) -> list[ClassAnswer]:
        """All classes, the most probable first."""
        made = []
        for name, probability in self.prediction.probabilities.items():
            made.append(ClassAnswer(name, probability, *self.prediction.spread[name]))
        return sorted(made, key=lambda answer: -answer.probability)

    def remarks(self, language: Language) -> list[tuple[str, str]]:
        """Name of the kind and text of each remark."""
        return [(remark.kind.name.lower(), remark.text(language)) for remark in self.prediction.remarks]


@dataclass(frozen=True)
class Refusal:
    """Why a file was not read, in one sentence."""

    file: str
    why: str


class Answerer:
    """Answers pictures with one predictor, and draws the maps of their classes.

    Raises:
        InputError: the networks see columns beside the image, and there is no table of them.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        predictor.require_values()
        _ = predictor.levels, predictor.seen_images  # complaints and hashes come now, not with the first picture

    def answer(self, path: Path, file: str = "") -> Answer | Refusal:
        """What is said of the file at `path`, which a person knows as `file`."""
        file = file or path.name
        try:
            image = self.predictor.read(path)
            grey = decode_native(path.parent, path.name, *self.predictor.levels)
        except InputError as error:
            return Refusal(file, str(error).replace(str(path), file))
        return Answer(file, image, fitted(grey, SHORTEST, LONGEST))

    def heat(self, answer: Answer, label: str) -> np.ndarray:
        """Where the evidence for a class is, float32 (S, S), 0 to 1."""
        return mean_maps(self.predictor, [answer.image], [label])[0]

    def layer(self, answer: Answer, heat: np.ndarray) -> np.ndarray:
        """A map as it lies over the picture, uint8 RGBA (H, W, 4)."""
        return map_layer(answer.grey.shape, heat, faded=bool(answer.prediction.out_of_distribution))

    def picture(self, answer: Answer, heat: np.ndarray, label: str) -> np.ndarray:
        """The picture that can be kept, with its caption: uint8 RGB."""
        lettering = letter(self.predictor.classes)
        lines = caption_lines(answer.file, self.predictor.name, answer.prediction, lettering, label)
        return picture(answer.grey, heat, answer.prediction, lines)


def png_uri(image: np.ndarray) -> str:
    """An image as an address that a page can show without asking for anything."""
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"
