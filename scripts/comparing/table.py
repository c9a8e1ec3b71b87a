"""Medians of every tool, and repo's ratio to each group of others: below 1, repo is better."""
import statistics

from .tools import TOOLS

# Each group's best counts: repositories with an index, password and mount; one without; a plain image of the files.
GROUPS = [("best of restic, borg, rustic", ("restic", "borg", "rustic")), ("bupstash", ("bupstash",)), ("squashfuse", ("squashfuse",))]


def median(found, field):
    values = [f[field] for f in found if f[field] is not None]
    return statistics.median(values) if values else None


def cell(found):
    if not found:
        return "-"
    text = f"{median(found, 'wall'):.2f} / {median(found, 'cpu'):.2f}"
    if median(found, "rss"):
        text += f", {median(found, 'rss'):.0f} MiB"
    if median(found, "megabytes"):
        text += f", {median(found, 'megabytes'):.0f} MB"
    if median(found, "per_second"):
        text += f", {median(found, 'per_second'):.0f}/s"
    return text


def ratio(tools, group, field):
    others = [median(tools[name], field) for name in group if name in tools]
    others = [value for value in others if value]
    ours = median(tools["repo"], field) if "repo" in tools else None
    return f"{ours / min(others):.2f}" if ours is not None and others else "-"


def ratios(tools, group):
    fields = ["wall", "cpu"] + (["megabytes"] if ratio(tools, group, "megabytes") != "-" else [])
    return " / ".join(ratio(tools, group, field) for field in fields)


def print_table(title, figures):
    names = [t.name for t in TOOLS if any(t.name in row for row in figures.values())]
    print(f"\n### {title}: wall / CPU seconds, peak RSS, stored MB, random reads per second; ratios: wall / CPU (/ MB)\n")
    print("| row | " + " | ".join(names + [f"repo : {title}" for title, _ in GROUPS]) + " |")
    print("|---" * (1 + len(names) + len(GROUPS)) + "|")
    for row, tools in figures.items():
        cells = [cell(tools.get(name)) for name in names] + [ratios(tools, group) for _, group in GROUPS]
        print(f"| {row} | " + " | ".join(cells) + " |")
