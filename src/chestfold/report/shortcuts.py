"""What would be believed wrongly, for RESULTS.md: scores that are reached without the lungs, and scores with a leak."""

from collections.abc import Mapping

from chestfold.evaluate import leaderboard
from chestfold.evaluate.leak_cost import leak_cost, leaky_name
from chestfold.evaluate.results import Result
from chestfold.report.export import markdown_table

LUNGS_TITLE = "What is told without the lungs"
LUNGS_ABOUT = (
    "Each run again, with `--frame lungs_black` added to its command: the middle 80 % of the images is black. What is "
    "above 0.5 is no finding in the middle of the image."
)
LUNGS_NOTE = (
    "*What this does not say.* That the network on whole images looks at the border: it may not have to. Of CT patches "
    "the black part is the candidate itself."
)
LEAKS_TITLE = "What leaks would have added"
LEAKS_ABOUT = (
    "Each run again, with `--folds DATA_leaky` added to its command: split by image, as if no two were of one "
    "patient or near duplicates."
)
LEAKS_NOTE = (
    "*What this does not say.* How much a larger network, or a longer training, would learn by heart: these are small "
    "and short."
)

Results = Mapping[str, Result]


def chapters(results: Results) -> list[str]:
    """Both questions' parts; none of a question for which no run was made."""
    return [*_without_lungs(results), *_leaks(results)]


def _without_lungs(results: Results) -> list[str]:
    rows = []
    for black in results.values():
        whole = _whole_image_run(black, results)
        if whole is None:
            continue
        scores = [leaderboard.format_score(result.score("at_half", "auc")) for result in (whole, black)]
        rows.append([black.record.data, whole.name, *scores, f"{black.record.minutes:.0f}"])
    if not rows:
        return []
    header = ["data set", "run", "AUC", "without them", "minutes"]
    return [f"## {LUNGS_TITLE}", LUNGS_ABOUT, markdown_table(header, sorted(rows)), LUNGS_NOTE]


def _whole_image_run(black: Result, results: Results) -> Result | None:
    """The run with the settings and folds of one that saw no lungs, but with whole images."""
    settings = black.record.all_settings
    if settings["frame"] != "lungs_black":
        return None
    wanted = settings | {"frame": "none"}
    for result in results.values():
        same_settings = result.record.kind == "experiment" and result.record.all_settings == wanted
        if same_settings and result.record.folds == black.record.folds:
            return result
    return None


def _leaks(results: Results) -> list[str]:
    rows = []
    for sound in results.values():
        leaky = results.get(leaky_name(sound.name))
        if leaky is None:
            continue
        cost = leak_cost(sound, leaky)
        scores = [leaderboard.format_point(score) for score in (cost.sound, cost.leaky)]
        rows.append(
            [
                sound.record.data,
                sound.name,
                cost.title,
                *scores,
                cost.added.format_gain(),
                f"{leaky.record.minutes:.0f}",
            ]
        )
    if not rows:
        return []
    header = ["data set", "run", "metric", "by patient", "by image", "the leak adds", "minutes"]
    return [f"## {LEAKS_TITLE}", LEAKS_ABOUT, markdown_table(header, sorted(rows)), LEAKS_NOTE]
