"""What must be read beside a prediction, in English and in Japanese."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Language = Literal["en", "ja"]


class Kind(StrEnum):
    """What a remark is about."""

    DEBUG = "debug run"
    PARTIAL = "folds missing"
    ANSWERED = "answered by the fold that has not seen it"
    TRAINED_ON = "trained on"
    UNLIKE = "unlike the training data"
    UNKNOWN = "unlike or not: unknown"
    DISAGREE = "folds disagree"
    NO_LUNGS = "no lungs found"


STYLES = {
    Kind.DEBUG: "bold",
    Kind.PARTIAL: "bold",
    Kind.ANSWERED: "bright_black",
    Kind.TRAINED_ON: "bright_black",
    Kind.UNLIKE: "yellow",
    Kind.DISAGREE: "magenta",
}
"""In the terminal; the others are plain."""

TEXTS: dict[Language, dict[Kind, str]] = {
    "en": {
        Kind.DEBUG: "debug run: not trained",
        Kind.PARTIAL: "{trained} of {of} folds",
        Kind.ANSWERED: "{found}: answered by fold {fold}, which has not seen it",
        Kind.TRAINED_ON: "{found} of all folds here: says nothing of new images",
        Kind.UNLIKE: "unlike the training data ({times} x)",
        Kind.UNKNOWN: "whether it is unlike the training data cannot be told",
        Kind.DISAGREE: "folds disagree: {agree} of {folds} say {decision}",
        Kind.NO_LUNGS: "no lungs found, unmasked: {reason}",
    },
    "ja": {
        Kind.DEBUG: "デバッグ実行：学習していないモデルです",
        Kind.PARTIAL: "{of} フォールドのうち {trained} フォールドだけのモデルです",
        Kind.ANSWERED: "{found}：この画像を学習していないフォールド {fold} の回答です",
        Kind.TRAINED_ON: "{found}（すべてのフォールドが学習済み）：新しい画像での性能は分かりません",
        Kind.UNLIKE: "学習データと似ていない画像です（{times} 倍）",
        Kind.UNKNOWN: "学習データと似ているかどうかは不明です",
        Kind.DISAGREE: "フォールドの判断が分かれています：{folds} のうち {agree} が {decision}",
        Kind.NO_LUNGS: "肺が見つからず、マスクしていません：{reason}",
    },
}
FOUND: dict[Language, dict[bool, str]] = {
    "en": {True: "in the training data", False: "nearly {image} of the training data"},
    "ja": {True: "学習データに含まれる画像です", False: "学習データの {image} とほぼ同じ画像です"},
}
"""Whether an image is the same file as one that was trained on -> how it is said."""


@dataclass(frozen=True)
class Remark:
    """A remark and what stands in it: the names of the braces in `TEXTS`, and of `FOUND` image and same_file."""

    kind: Kind
    values: Mapping[str, str] = field(default_factory=dict)
    same_file: bool = True

    def text(self, language: Language = "en") -> str:
        """In words, without a full stop."""
        found = FOUND[language][self.same_file].format(**self.values) if "image" in self.values else ""
        return TEXTS[language][self.kind].format(found=found, **self.values)

    @property
    def style(self) -> str:
        """Of rich."""
        return STYLES.get(self.kind, "")
