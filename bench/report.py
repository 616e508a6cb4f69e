"""The figures as a page of Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

#: Ours may cost at most this share of a peer's CPU time.
TARGETS = {"nginx": 5.0, "smg": 0.5, "portkey": 1 / 8, "litellm": 1 / 80}


def markdown(result: dict[str, Any]) -> str:
    """The tables, the facts and the command of one run."""
    stacks: dict[str, dict[str, Any]] = result["stacks"]
    parts = [_facts(result), _figures(stacks)]
    if "ours" in stacks and len(stacks) > 1:
        parts.append(_ratios(stacks))
    parts.append(_notes(result))
    return "\n\n".join(part for part in parts if part)


def write(file: Path, page: str, name: str = "figures") -> None:
    """Puts ``page`` between the marks of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = file.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{file} needs the marks {begin} and {end} once each")
    head, rest = text.split(begin)
    file.write_text(f"{head}{begin}\n{page}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def failures(result: dict[str, Any]) -> int:
    """Requests of ours that failed, anywhere in the run."""
    return sum(part.get("failures", 0) for part in result["stacks"].get("ours", {}).values() if isinstance(part, dict))


def _facts(result: dict[str, Any]) -> str:
    facts, cores = result["machine"], result["cores"]
    apart = f"stacks on core {cores['served']}, upstream and load on core {cores['driven']}"
    return (
        f"`{result['command']}` on {facts['processor']}, {facts['cores']} cores, {facts['memory']}, "
        f"{facts['system']}, Python {facts['python']}; {apart}."
    )


def _figures(stacks: dict[str, dict[str, Any]]) -> str:
    head = (
        "| stack | plain, CPU µs | streamed, CPU µs | spaced stream, CPU µs | plain, requests/s | p50 / p99 added, ms "
        "| memory warm → after, MiB | streams open at once | first answer, s |"
    )
    return "\n".join(
        [head, "|---|--:|--:|--:|--:|--:|--:|--:|--:|", *(_row(name, one) for name, one in stacks.items())]
    )


def _row(name: str, one: dict[str, Any]) -> str:
    latency, memory, streams = one.get("latency"), one.get("memory"), one.get("streams")
    paced = "–"
    if latency:
        paced = "cannot keep up" if latency["overloaded"] else f"{latency['p50_ms']:.2f} / {latency['p99_ms']:.2f}"
    kept = f"{memory['warm_mib']:.0f} → {memory['after_mib']:.0f} ({memory['requests']:,})" if memory else "–"
    opened = "–"
    if streams:
        opened = f"{streams['together']:,}" + (f", {streams['failures']:,} failed" if streams["failures"] else "")
    cells = [f"{one[kind]['cpu_us']:,.0f}" if kind in one else "–" for kind in ("plain", "streamed", "spaced")]
    rate = f"{one['plain']['rate']:,.0f}" if "plain" in one else "–"
    first = f"{name} ({one['about']})"
    last = f"{one['first_answer_s']:.2f}"
    return "| " + " | ".join([first, *cells, rate, paced, kept, opened, last]) + " |"


def _ratios(stacks: dict[str, dict[str, Any]]) -> str:
    lines = ["| ours ÷ peer, CPU | plain | streamed | spaced stream | wanted, at most |", "|---|--:|--:|--:|--:|"]
    for name, one in stacks.items():
        if name == "ours":
            continue
        shares = [_ratio(stacks["ours"], one, kind) for kind in ("plain", "streamed", "spaced")]
        lines.append(f"| {name} | {' | '.join(shares)} | {TARGETS[name]:.3g} |")
    return "\n".join(lines)


def _ratio(ours: dict[str, Any], peer: dict[str, Any], kind: str) -> str:
    if not (kind in ours and kind in peer and peer[kind]["cpu_us"]):
        return "–"
    return f"{ours[kind]['cpu_us'] / peer[kind]['cpu_us']:.3g}"


def _notes(result: dict[str, Any]) -> str:
    lines = []
    mine = result["stacks"].get("ours", {})
    if "plain" in mine:
        lines.append(
            f"- All processes of ours together (supervisor, worker, orchestrator, broker): "
            f"{mine['plain']['cpu_all_us']:,.0f} µs plain, {mine['streamed']['cpu_all_us']:,.0f} µs streamed"
            + (f", {mine['memory']['all_mib']:,.0f} MiB." if "memory" in mine else ".")
        )
    if "ledger" in result:
        lines.append(
            f"- Calls answered {result['ledger']['answered']:,}, in the ledger {result['ledger']['entered']:,}."
        )
    if "processes" in result:
        one, two = result["processes"]["1"], result["processes"]["2"]
        even = 2 * one["cpu_us"] / two["cpu_us"]
        lines.append(
            f"- Two API processes ÷ one: {two['rate'] / one['rate']:.2f} × the requests a second with provider "
            f"(nginx) and load (wrk) on the same cores ({one['rate']:,.0f}/s, {two['rate']:,.0f}/s); "
            f"{even:.2f} × by CPU a request ({one['cpu_us']:,.0f} µs, {two['cpu_us']:,.0f} µs)."
        )
    for name, one in result["stacks"].items():
        for kind in ("plain", "streamed", "spaced", "streams"):
            if one.get(kind, {}).get("failures"):
                words = re.sub(r"\s+", " ", one[kind]["trouble"])[:160]
                lines.append(f"- {name}, {kind}: {one[kind]['failures']:,} failures, the first: `{words}`")
    lines += [f"- {name} is left out: {reason}" for name, reason in result["left_out"].items()]
    return "\n".join(lines)
