"""A run as a page that can be sent to a colleague: one HTML file, no script, no link to anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from gateway.cli.report_charts import chart
from gateway.clock import SECOND, from_rfc3339
from gateway.money import plain

_FOLDER = Path(__file__).parent
_NAMES = {
    "data_prep": "The data",
    "anomaly_check": "Unusual days",
    "risk_classify": "Risk level",
    "llm_analysis": "A language model's reading",
    "market_analysis": "What the history says",
    "scenario_gen": "Scenarios",
    "risk_assessment": "Risk measures",
    "train": "Training",
}
#: Steps whose outcome a reader wants first.
_FIRST = ("risk_classify", "risk_assessment", "train")


def report(run: Mapping[str, Any], models: Mapping[str, Any], *, title: str, version: str) -> str:
    """The page of a finished run. ``models``: the pages of the models that took part, by name."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "chart": chart,
        "value": fact_value,
        "seconds": _seconds,
        "pieces": _pieces,
        "paragraphs": _paragraphs,
    }
    told = _plain(run)
    steps = [step for step in told["steps"] if step.get("result")]
    return environment.get_template("report.html.j2").render(
        run=told,
        steps=sorted(steps, key=lambda step: step["step_id"] not in _FIRST),
        models=list(_versions(models)),
        names=_NAMES,
        style=Markup((_FOLDER / "report.css").read_text()),  # noqa: S704 - our own file
        title=title,
        tokens=sum(int(step["result"].get("tokens_used") or 0) for step in steps),
        version=version,
    )


def fact_value(fact: Mapping[str, Any]) -> str:
    """A fact's value as people write it, with its unit."""
    value, unit = fact["value"], str(fact.get("unit") or "")
    text = f"{value:,.4g}" if isinstance(value, float) else str(value)
    return text if unit in ("", "date", "fraction", "ratio") else f"{text} {unit}"


def _versions(models: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, model in models.items():
        for item in model.get("versions", ()):
            if item["version"] == model.get("version"):
                yield {**item, "name": name}


def _pieces(result: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The response cut at its numbers, which are listed in the order of the text."""
    text, place = str(result["response"]), 0
    for number in result.get("numbers", ()):
        found = text.find(number["text"], place)
        if found < 0:
            continue
        yield {"text": text[place:found], "status": "", "source": ""}
        yield {"text": number["text"], "status": number["status"], "source": number.get("source", "")}
        place = found + len(number["text"])
    yield {"text": text[place:], "status": "", "source": ""}


def _paragraphs(text: str) -> Markup:
    return Markup("</p><p>").join(escape(part) for part in text.split("\n\n"))


def _seconds(step: Mapping[str, Any]) -> str:
    began, ended = step.get("started_at"), step.get("completed_at")
    return f"{(from_rfc3339(ended) - from_rfc3339(began)) / SECOND:.1f} s" if began and ended else "–"


def _plain(value: Any) -> Any:
    """Decimals, which the client keeps exact, as floats for drawing; costs as their text."""
    if isinstance(value, dict):
        return {key: plain(item) if key == "cost" else _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if type(value).__name__ == "Decimal" else value
