"""The demonstrations: what each submits, and how its outcome is told in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PORTFOLIO = {"dataset": "sp500-20"}
_COLOURS = {"low": "green", "medium": "yellow", "high": "red"}


@dataclass(frozen=True, slots=True)
class Case:
    """One demonstration: a workflow definition, its input, the models it waits for, how it is told."""

    title: str
    definition: dict[str, Any]
    input: dict[str, Any]
    models: tuple[str, ...]
    tell: Callable[[Console, Mapping[str, Any]], None]
    #: Whether ``tell`` makes sense of a run that failed on its way.
    tells_part: bool = False


def results(run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The results of a run's steps by step id."""
    return {step["step_id"]: step["result"] or {} for step in run["steps"]}


def tell_risk(out: Console, run: Mapping[str, Any]) -> None:
    """Unusual days, risk level, the model's text with its numbers marked: each as far as the run came."""
    found = results(run)
    for step_id, tell in (("anomaly_check", _anomalies), ("risk_classify", _level), ("llm_analysis", _text)):
        if found[step_id]:
            tell(out, found[step_id])


def _anomalies(out: Console, anomalies: Mapping[str, Any]) -> None:
    out.print(f"\n[bold]Unusual days[/]  {anomalies['total']} above the threshold, the worst of them:")
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("day", "score", "assets that moved most", "why"):
        table.add_column(name)
    chosen = _chosen(anomalies["anomalies"])
    for item in chosen:
        moves = "  ".join(f"{one['asset']} {100 * float(one['return']):+.1f}%" for one in item["assets"][:3])
        table.add_row(
            item["date"],
            f"{float(item['score']):.1f}",
            moves,
            shorten(str(item["reasons"][0]).split(":")[0], 76, placeholder=" …"),
        )
    out.print(table)


def _level(out: Console, risk: Mapping[str, Any]) -> None:
    level = risk["risk_level"]
    shown = f"[bold {_COLOURS[level]}]{level}[/]"
    out.print(f"\n[bold]Risk level[/] over the next 21 trading days, as of {risk['as_of']}: {shown}")
    for name, share in risk["probabilities"].items():
        bar = "█" * round(40 * float(share))
        out.print(f"  {name:<7} [{_COLOURS[name]}]{bar:<40}[/] {100 * float(share):5.1f} %")
    for reason in risk["reasons"][:3]:
        out.print(f"  · {reason['text']}", markup=False)


def _text(out: Console, text: Mapping[str, Any]) -> None:
    out.print(f"\n[bold]What {text['model']} says[/] (green: the number stands in the inputs; yellow: it does not)")
    out.print(marked(text))


def marked(result: Mapping[str, Any]) -> Text:
    """The response with its numbers coloured."""
    text = Text("  " + str(result["response"]).strip().replace("\n", "\n  "))
    place = 0
    for number in result.get("numbers", ()):
        found = text.plain.find(number["text"], place)
        if found >= 0:
            place = found + len(number["text"])
            text.stylize("bold green" if number["status"] == "traced" else "bold yellow", found, place)
    return text


def tell_scenarios(out: Console, run: Mapping[str, Any]) -> None:
    """Percentiles of each factor, VaR and ES with their errors, stresses."""
    found = results(run)
    scenarios, risk = found["scenario_gen"]["scenarios"], found["risk_assessment"]
    out.print(
        f"\n[bold]Scenarios[/]  {scenarios['paths']} joint monthly paths over {scenarios['years']} years, "
        f"{scenarios['measure'].replace('_', '-')}, seed {scenarios['seed']}"
    )
    table = Table("at the end", "5 %", "25 %", "50 %", "75 %", "95 %", box=None, header_style="dim", pad_edge=False)
    for name, levels in scenarios["percentiles"].items():
        scale = 100 if name in ("short_rate", "inflation") else 1
        cells = [f"{scale * float(levels[level][-1]):.2f}" for level in ("5", "25", "50", "75", "95")]
        table.add_row(name.replace("_", " ") + (" (%)" if scale == 100 else ""), *cells)
    out.print(table)
    out.print("\n[bold]Losses of the equity value[/] (negative: a gain)")
    losses = Table("horizon", "level", "VaR", "± s.e.", "ES", "± s.e.", box=None, header_style="dim", pad_edge=False)
    for item in risk["measures"]:
        cells = [f"{100 * float(item[name]):.1f} %" for name in ("var", "var_error", "es", "es_error")]
        losses.add_row(f"{item['horizon_years']} year(s)", f"{float(item['level']):.0%}", *cells)
    out.print(losses)
    out.print("\n[bold]Named stresses[/]")
    for item in risk["stresses"]:
        out.print(
            f"  {item['name']:<16} equity {100 * float(item['equity_change']):+.1f} %   {item['description']}",
            markup=False,
        )


def tell_training(out: Console, run: Mapping[str, Any]) -> None:
    """The new version, measured beside champion and baseline."""
    made = results(run)["train"]
    found = made["comparison"]
    out.print(f"\n[bold]{made['model']}[/] version {made['version']}" + (" (promoted)" if made["promoted"] else ""))
    table = Table("model", found["metric"], box=None, header_style="dim", pad_edge=False)
    table.add_row("this version", f"{float(found['challenger']):.4f}")
    if found["champion"] is not None:
        table.add_row(f"champion before (version {found['champion_version']})", f"{float(found['champion']):.4f}")
    table.add_row(f"baseline {found['baseline_name']}", f"{float(found['baseline']):.4f}")
    out.print(table)
    period = found["period"]
    out.print(f"[dim]out of sample, {period['start']} to {period['end']}; split walking forward in time[/]")
    if found["caveat"]:
        out.print(f"[dim]{found['caveat']}[/]")


def _chosen(anomalies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst few, and the worst day of October 2008 and of March 2020 where they are listed."""
    chosen = list(anomalies[:6])
    for month in ("2008-10", "2020-03"):
        first = next((item for item in anomalies if item["date"].startswith(month)), None)
        if first is not None and first not in chosen:
            chosen.append(first)
    return chosen


RISK_ANALYSIS: dict[str, Any] = {
    "workflow_id": "risk_analysis",
    "name": "Risk Analysis Workflow",
    "steps": [
        {
            "step_id": "data_prep",
            "task_type": "data_preprocessing",
            "input_mapping": {"data": "input.market_data"},
            "output_mapping": {"processed_data": "processed_data"},
        },
        {
            "step_id": "anomaly_check",
            "task_type": "anomaly_detection",
            "input_mapping": {"data": "step.data_prep.processed_data"},
            "dependencies": ["data_prep"],
        },
        {
            "step_id": "risk_classify",
            "task_type": "risk_classification",
            "input_mapping": {"features": "step.data_prep.processed_data"},
            "dependencies": ["data_prep"],
        },
        {
            "step_id": "llm_analysis",
            "task_type": "llm_analysis",
            "input_mapping": {"prompt": "input.analysis_prompt"},
            "dependencies": ["anomaly_check", "risk_classify"],
        },
    ],
}
SCENARIO_GENERATION: dict[str, Any] = {
    "workflow_id": "scenario_generation",
    "name": "Scenario Generation Workflow",
    "steps": [
        {
            "step_id": "market_analysis",
            "task_type": "data_analysis",
            "input_mapping": {"market_data": "input.market_data"},
        },
        {
            "step_id": "scenario_gen",
            "task_type": "scenario_generation",
            "input_mapping": {"analysis": "step.market_analysis.result"},
            "dependencies": ["market_analysis"],
        },
        {
            "step_id": "risk_assessment",
            "task_type": "risk_assessment",
            "input_mapping": {"scenarios": "step.scenario_gen.scenarios"},
            "dependencies": ["scenario_gen"],
        },
    ],
}
MODEL_TRAINING: dict[str, Any] = {
    "workflow_id": "model_training",
    "name": "Model Training Workflow",
    "steps": [
        {
            "step_id": "train",
            "task_type": "model_training",
            "input_mapping": {"model": "input.model", "promote": "input.promote", "seed": "input.seed"},
        }
    ],
}
CASES: dict[str, Case] = {
    "risk": Case(
        "Risk analysis of twenty S&P 500 stocks",
        RISK_ANALYSIS,
        {
            "market_data": PORTFOLIO,
            "analysis_prompt": "Summarise the risk of this portfolio in three sentences.",
        },
        ("market-anomaly", "risk-classifier"),
        tell_risk,
        tells_part=True,
    ),
    "scenarios": Case(
        "Economic scenarios and what they put at risk",
        SCENARIO_GENERATION,
        {"market_data": PORTFOLIO},
        (),
        tell_scenarios,
    ),
    "training": Case(
        "A risk classifier, trained, promoted and rolled back",
        MODEL_TRAINING,
        {"model": "risk-classifier", "promote": True},
        ("risk-classifier",),
        tell_training,
    ),
}
