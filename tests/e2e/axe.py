"""What axe-core finds in the page that a browser shows: accessibility by WCAG and good practice."""

from functools import cache
from importlib.resources import files

from chromium import Browser


@cache
def _script() -> str:
    return files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def violations(browser: Browser) -> list[str]:
    """A line for each element that breaks a rule: the rule, and the element's HTML."""
    browser.value(_script() + "; 0")
    found = browser.value("axe.run().then(run => run.violations.map(v => [v.id, v.nodes.map(node => node.html)]))")
    return [f"{rule}: {html}" for rule, elements in found for html in elements]
