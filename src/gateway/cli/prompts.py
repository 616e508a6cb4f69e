"""``prompts``: versioned templates, their labels, and what became of their calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gateway.cli import prompt_labels
from gateway.cli.client import Json, Key, Url, connect, console, segment, show
from gateway.errors import ValidationFailed

Name = Annotated[str, typer.Argument(help="The prompt's name.")]
_YAML = (".yaml", ".yml", ".json")


def add(
    name: Name,
    file: Annotated[
        Path | None, typer.Argument(help="As --file.", exists=True, dir_okay=False, show_default=False)
    ] = None,
    option: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="YAML or JSON with template or messages; any other file is a template."),
    ] = None,
    comment: Annotated[str, typer.Option("--comment", "-m", help="What this version is about.")] = "",
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Add a version. A version never changes."""
    chosen = option or file
    if chosen is None:
        raise ValidationFailed("no file is named", mend="give --file prompt.yaml", param="file")
    body = _read(chosen) | {"name": name}
    if comment:
        body["comment"] = comment
    made = connect(url, key).post("/prompts", body)
    if as_json:
        show(made)
        return
    line = Text.assemble(("✓ ", "green"), f"{made['name']}@{made['version']}, variables: ")
    console().print(line + Text(", ".join(made["variables"]) or "none"))


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """The newest version of each, and where labels point."""
    found = connect(url, key).get("/prompts")
    if as_json:
        show(found)
        return
    table = Table("name", "version", "labels", "variables", "by", box=None, header_style="bold")
    for item in found["prompts"]:
        labels = ", ".join(f"{label} → {prompt_labels.told(to)}" for label, to in item["labels"].items())
        table.add_row(
            *map(Text, (item["name"], str(item["version"]), labels, ", ".join(item["variables"]))), item["created_by"]
        )
    console().print(table if found["prompts"] else "no prompts are stored")


def show_one(
    name: Name,
    version: Annotated[int | None, typer.Option(help="A version; the newest by default.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """A prompt: its text, its variables, its versions and labels."""
    found = connect(url, key).get(f"/prompts/{segment(name)}", version=version)
    if as_json:
        show(found)
        return
    out = console()
    out.print(Text(f"{found['name']}@{found['version']}", "bold"), Text(found["comment"], "dim"))
    for turn in found.get("messages") or [{"role": "user", "content": found["template"]}]:
        out.print(Text(turn["role"], "cyan"))
        out.print(Syntax(turn["content"], "jinja", background_color="default", word_wrap=True))
    if found["variables"]:
        table = Table("variable", "type", "required", "bounds", box=None, header_style="bold")
        for given, spec in found["variables"].items():
            bounds = {field: value for field, value in spec.items() if field not in ("type", "required", "description")}
            told = ", ".join(f"{field} {value}" for field, value in bounds.items())
            table.add_row(*map(Text, (given, spec["type"], "yes" if spec["required"] else "no", told)))
        out.print(table)
    if found["defaults"]:
        out.print(Text("defaults ", "bold") + Text(", ".join(_flat(found["defaults"]))))
    versions = Table("version", "labels", "by", "at", "comment", box=None, header_style="bold")
    for item in found["versions"]:
        row = (str(item["version"]), ", ".join(item["labels"]), item["created_by"], item["created_at"], item["comment"])
        versions.add_row(*map(Text, row))
    out.print(versions)


def render(
    name: Name,
    variable: Annotated[list[str] | None, typer.Option("--var", help="name=text, or name:=JSON; repeatable.")] = None,
    file: Annotated[Path | None, typer.Option("--vars", help="A YAML or JSON file of variables.", exists=True)] = None,
    version: Annotated[int | None, typer.Option(help="A version.")] = None,
    label: Annotated[str | None, typer.Option(help="A label; production by default, else the newest.")] = None,
    model: Annotated[str | None, typer.Option(help="Whose tokens are counted.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show the messages that a prompt gives. Nothing is asked of a model."""
    variables = (_mapping(file) if file else {}) | dict(_pair(item) for item in variable or ())
    given = {"version": version, "label": label, "model": model}
    body = {"variables": variables} | {field: value for field, value in given.items() if value is not None}
    rendered = connect(url, key).post(f"/prompts/{segment(name)}/render", body)
    if as_json:
        show(rendered)
        return
    out = console()
    messages = rendered["messages"]
    alone = len(messages) == 1 and messages[0]["role"] == "user"
    for turn in messages:
        if not alone:
            out.print(Text(turn["role"], "cyan"))
        out.print(turn["content"], markup=False, soft_wrap=True)
    tokens, prompt = rendered["tokens"], rendered["prompt"]
    note = f"{prompt['id']}@{prompt['version']} · {tokens['input']} tokens ({tokens['basis']})"
    console(stderr=True).print(Text(note, "dim"))


def diff(
    name: Name,
    old: Annotated[int | None, typer.Argument(help="The older version; by default the one before.")] = None,
    new: Annotated[int | None, typer.Argument(help="The newer version; by default the newest.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """What differs between two versions."""
    found = connect(url, key).get(f"/prompts/{segment(name)}/diff", **{"from": old, "to": new})
    if as_json:
        show(found)
        return
    out = console()
    out.print(Text(f"{found['name']}@{found['from']} → {found['name']}@{found['to']}", "bold"))
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for change in found["changes"]:
        out.print(Text(change["field"], "bold yellow"))
        for line in change["lines"]:
            out.print(Text(f"  {line}", styles.get(line[:1], "")))
    if not found["changes"]:
        out.print("nothing differs")


def results(
    name: Name,
    days: Annotated[int, typer.Option(help="How many days, today included.")] = 30,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Calls, cost, latency, failures and feedback of each version."""
    found = connect(url, key).get(f"/prompts/{segment(name)}/results", days=days)
    if as_json:
        show(found)
        return
    table = Table(box=None, header_style="bold")
    for heading in ("version", "label", "calls", "failures", "cost", "a call", "p50", "p95", "feedback"):
        table.add_column(heading, justify="left" if heading == "label" else "right")
    for row in found["results"]:
        latency, feedback = row["latency_seconds"], row["feedback"]
        score = f"{feedback['mean']:.3g} ({feedback['count']})" if feedback["count"] else "–"
        cost = (f"${row['cost']:f}", "–" if row["cost_per_call"] is None else f"${row['cost_per_call']:f}")
        figures = (row["calls"], row["failures"], *cost, _seconds(latency["p50"]), _seconds(latency["p95"]), score)
        table.add_row(str(row["version"]), Text(row["label"] or "–"), *map(str, figures))
    console().print(table if found["results"] else "no call has ended yet")


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("list")(listing)
    app.command("show")(show_one)
    app.command("add")(add)
    app.command("render")(render)
    app.command("diff")(diff)
    app.command("label")(prompt_labels.label)
    app.command("rollback")(prompt_labels.rollback)
    app.command("results")(results)
    return app


def _read(file: Path) -> dict[str, Any]:
    if file.suffix in _YAML:
        return _mapping(file)
    return {"template": file.read_text(encoding="utf-8")}


def _mapping(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValidationFailed(f"{file} cannot be read: {str(error)[:200]}", mend="write YAML or JSON") from None
    if not isinstance(content, dict):
        raise ValidationFailed(f"{file}: fields are expected", mend="write name: value")
    return content


def _pair(item: str) -> tuple[str, Any]:
    name, equals, value = item.partition("=")
    if not equals:
        raise ValidationFailed(f"--var {item[:40]}: name=text or name:=JSON is expected", param="var")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], yaml.safe_load(value)
    except yaml.YAMLError:
        raise ValidationFailed(f"--var {name[:40]}: the value is not JSON", param="var") from None


def _flat(defaults: dict[str, Any]) -> list[str]:
    told = [f"{name} {value}" for name, value in defaults.get("parameters", {}).items()]
    form = defaults.get("response_format")
    return [defaults["model"]] * ("model" in defaults) + told + ([f"response_format {form['type']}"] if form else [])


def _seconds(value: Any) -> str:
    return "–" if value is None else f"{float(value):.3g} s"
