"""What Scripts/compare writes: a table for people, a page with a forest plot, samples for Prometheus."""
import html
import math

COLOURS = {"faster": "better", "less": "better", "slower": "worse", "more": "worse", "same": "same", "~": "unsure",
           "–": "unsure"}
RIGHT = "ratio above 1: better than the baseline"
STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --faint: #6a737d; --rule: #d8dee4; --band: #eaeef2;
  --better: #1a7f37; --worse: #cf222e; --same: #0969da; --unsure: #8c959f; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --faint: #8d96a0; --rule: #30363d;
  --band: #21262d; --better: #3fb950; --worse: #f85149; --same: #58a6ff; --unsure: #6e7681; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em;
  padding: 0 1em; }
p { color: var(--faint); } svg { width: 100%; height: auto; } svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg .faint { fill: var(--faint); } svg .rule { stroke: var(--rule); } svg .one { stroke: var(--faint); }
svg .band { fill: var(--band); }
.better { fill: var(--better); stroke: var(--better); color: var(--better); } .worse { fill: var(--worse);
  stroke: var(--worse); color: var(--worse); } .same { fill: var(--same); stroke: var(--same); color: var(--same); }
.unsure { fill: var(--unsure); stroke: var(--unsure); color: var(--unsure); }
table { border-collapse: collapse; width: 100%; } .heat { margin: 1em 0 2em; } th, td { border-bottom: 1px solid var(--rule); padding: .3em .6em;
  text-align: right; } th:first-child, td:first-child { text-align: left; }
"""


def figure(value):
    """Three digits that count, groups of three."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def shown(row):
    """-> (baseline, other) as people read them: memory is kept as its inverse, so that more is better everywhere."""
    if row["row"].endswith("peak memory"):
        return f"{1 / row['baseline']:.0f} MiB", f"{1 / row['other']:.0f} MiB"
    return figure(row["baseline"]), figure(row["other"])


def words(result):
    machine = result["environment"]
    text = f"{machine['host']}: {machine['cpu']}, {machine['vcpus']} vCPU, Linux {machine['kernel']}; commit "
    text += f"{machine['commit'][:7]}{' (changed)' if machine['dirty'] else ''}; {result['blocks']} blocks, seed "
    text += f"{result['seed']}; steal at most {100 * result['steal']:.1f} %"
    return text


def explanation(result):
    return (f"Every block runs each side once and the baseline twice, in random order, each time in new processes. Ratios are "
            f"paired inside blocks (above 1: better than the baseline); the interval is the bootstrap's at "
            f"{100 * result['confidence']:.0f} %. Noise is what two runs of the baseline differ by. A verdict needs an "
            f"interval without 1 and a difference beyond noise and {100 * result['effect_min']:.0f} %; “same” is an interval "
            f"inside them; “~” can't tell; “–” has too few blocks.")


def markdown(result):
    text = f"# Compared: {result['kind']}\n\n{words(result)}\n\n{explanation(result)}\n\n"
    text += "| row | side | baseline | side | ratio | interval | noise ± | verdict |\n|---|---|--:|--:|--:|--:|--:|---|\n"
    for row in result["rows"]:
        before, after = shown(row)
        text += f"| {row['row']} | {row['other_side']} by {row['baseline_side']} | {before} | {after} | **{row['ratio']:.3f}** "
        text += f"| {row['low']:.3f} … {row['high']:.3f} | {100 * row['noise']:.1f} % | {row['verdict']} |\n"
    if result["kind"] == "matrix":
        text += "\n" + matrix(result["rows"])
    for failure in result["failures"]:
        text += f"\nNot measured: {failure}\n"
    return text


def grid(rows):
    """-> (names of rows, names of sides, {(row, side): row}), in the order of the measurements."""
    names = list(dict.fromkeys(row["row"] for row in rows))
    others = list(dict.fromkeys(row["other_side"] for row in rows))
    return names, others, {(row["row"], row["other_side"]): row for row in rows}


def matrix(rows):
    """Ratios by row and side; in bold what has a verdict."""
    names, others, cells = grid(rows)
    baseline = rows[0]["baseline_side"] if rows else ""
    text = f"Ratios to {baseline}; bold ones have a verdict:\n\n| row | {' | '.join(others)} |\n|---|{'--:|' * len(others)}\n"
    for name in names:
        text += f"| {name} |"
        for other in others:
            row = cells.get((name, other))
            ratio = f"{row['ratio']:.2f}" if row else "–"
            text += f" **{ratio}** |" if row and COLOURS[row["verdict"]] in ("better", "worse") else f" {ratio} |"
        text += "\n"
    return text


def heat(rows):
    """The same as a table whose cells are the greener the better and the redder the worse; pale ones have no verdict."""
    names, others, cells = grid(rows)
    if not names:
        return ""
    text = "<table class=\"heat\"><tr><th>" + html.escape(f"ratio to {rows[0]['baseline_side']}") + "</th>"
    text += "".join(f"<th>{html.escape(other)}</th>" for other in others) + "</tr>\n"
    for name in names:
        text += f"<tr><td>{html.escape(name)}</td>"
        for other in others:
            row = cells.get((name, other))
            if row is None:
                text += "<td>–</td>"
                continue
            colour = "better" if row["ratio"] >= 1 else "worse"
            # Full colour at twice or half the baseline.
            share = min(abs(math.log2(row["ratio"])), 1) * (1 if COLOURS[row["verdict"]] in ("better", "worse") else 0.25)
            text += f'<td style="background: color-mix(in srgb, var(--{colour}) {100 * share:.0f}%, transparent)">'
            text += f'{row["ratio"]:.2f} {html.escape(row["verdict"])}</td>'
        text += "</tr>\n"
    return text + "</table>\n"


def page(result):
    text = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    text += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    text += f"<title>Compared: {html.escape(result['kind'])}</title><style>{STYLE}</style></head><body>\n"
    text += f"<h1>Compared: {html.escape(result['kind'])}</h1>\n<p>{html.escape(words(result))}</p>\n"
    text += f"<p>{html.escape(explanation(result))}</p>\n{forest(result['rows'])}\n"
    if result["kind"] == "matrix":
        text += heat(result["rows"])
    text += "<table><tr><th>row</th><th>side</th><th>baseline</th><th>side</th><th>ratio</th><th>interval</th><th>noise ±</th>"
    text += "<th>verdict</th></tr>\n"
    for row in result["rows"]:
        before, after = shown(row)
        pair = f"{row['other_side']} by {row['baseline_side']}"
        cells = [row["row"], pair, before, after, f"{row['ratio']:.3f}", f"{row['low']:.3f} … {row['high']:.3f}",
                 f"{100 * row['noise']:.1f} %"]
        text += "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        text += f"<td class=\"{COLOURS[row['verdict']]}\">{html.escape(row['verdict'])}</td></tr>\n"
    text += "</table>\n"
    for failure in result["failures"]:
        text += f"<p>Not measured: {html.escape(failure)}</p>\n"
    return text + "</body></html>\n"


def forest(rows):
    """An SVG with a line for each row: grey band = noise, bar = interval, dot = ratio, on a logarithmic scale."""
    if not rows:
        return ""
    width, left, right, height, top = 1000, 400, 90, 24, 36
    reach = max(max(abs(math.log(row[key])) for row in rows for key in ("low", "high", "ratio")), 0.05) * 1.1

    def across(value):
        return left + (width - left - right) * (math.log(value) + reach) / (2 * reach)

    total = top + height * len(rows) + 10
    text = f'<svg viewBox="0 0 {width} {total}" role="img" aria-label="ratios with their intervals; {RIGHT}">\n'
    for tick in ticks(reach):
        at = across(tick)
        text += f'<line class="{"one" if tick == 1 else "rule"}" x1="{at:.1f}" y1="{top - 8}" x2="{at:.1f}" y2="{total - 6}"/>'
        text += f'<text class="faint" x="{at:.1f}" y="{top - 14}" text-anchor="middle">{tick:g}</text>\n'
    for number, row in enumerate(rows):
        middle = top + height * number + height / 2
        low, high = max(1 / (1 + row["noise"]), math.exp(-reach)), min(1 + row["noise"], math.exp(reach))
        colour = COLOURS[row["verdict"]]
        name = html.escape(f"{row['row']} · {row['other_side']}")
        text += f'<rect class="band" x="{across(low):.1f}" y="{middle - 8}" width="{across(high) - across(low):.1f}" height="16"/>'
        text += f'<text x="{left - 12}" y="{middle + 4}" text-anchor="end">{name}</text>'
        text += f'<line class="{colour}" stroke-width="2" x1="{across(row["low"]):.1f}" y1="{middle}" '
        text += f'x2="{across(row["high"]):.1f}" y2="{middle}"/>'
        text += f'<circle class="{colour}" cx="{across(row["ratio"]):.1f}" cy="{middle}" r="4"/>'
        text += f'<text class="faint" x="{width - right + 12}" y="{middle + 4}">{row["ratio"]:.2f} {html.escape(row["verdict"])}'
        text += "</text>\n"
    return text + "</svg>"


def ticks(reach):
    """Ratios that people know, inside the plot and far enough apart."""
    for steps in ([0.9, 0.95, 1, 1.05, 1.1], [0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.4], [0.25, 0.5, 1, 2, 4],
                  [0.01, 0.1, 1, 10, 100]):
        if abs(math.log(steps[0])) >= reach * 0.75:
            return [step for step in steps if abs(math.log(step)) <= reach]
    return [1]


def escaped(value):
    return value.replace("\\", "\\\\").replace('"', '\\"')


def prometheus(result):
    """Text format 0.0.4."""
    families = [
        ("ratio", "Side by baseline, paired inside blocks; above 1 is better.", "ratio"),
        ("ratio_low", "Lower end of the ratio's interval.", "low"),
        ("ratio_high", "Upper end of the ratio's interval.", "high"),
        ("noise_ratio", "What two runs of the baseline differ by, as a part of 1.", "noise"),
    ]
    text = ""
    common = f'host="{escaped(result["environment"]["host"])}",comparison="{result["kind"]}"'
    for name, words_of, key in families:
        text += f"# HELP loadgen_compare_{name} {words_of}\n# TYPE loadgen_compare_{name} gauge\n"
        for row in result["rows"]:
            text += f"loadgen_compare_{name}{{{common},{labels(row)}}} {row[key]}\n"
    text += "# HELP loadgen_compare_verdict 1 for the verdict of a row.\n# TYPE loadgen_compare_verdict gauge\n"
    for row in result["rows"]:
        word = {"~": "unsure", "–": "none"}.get(row["verdict"], row["verdict"])
        text += f'loadgen_compare_verdict{{{common},{labels(row)},verdict="{word}"}} 1\n'
    return text


def labels(row):
    return (f'row="{escaped(row["row"])}",baseline="{escaped(row["baseline_side"])}",'
            f'side="{escaped(row["other_side"])}"')
