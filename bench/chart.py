# SPDX-License-Identifier: MIT
"""chart: horizontal bars in groups, as SVG, with nothing but the standard library. Colours and text follow the reader's light or dark theme."""
from xml.sax.saxutils import escape

LABEL, WIDTH, VALUE = 90, 620, 90  # of the groups' names, of the longest bar, of the figure behind it
BAR, GAP, GROUP = 12, 2, 12
TOP, BOTTOM = 64, 34
COLOURS = [("#1f6feb", "#58a6ff"), ("#bc4c00", "#f0883e"), ("#6e7781", "#8b949e"), ("#1a7f37", "#3fb950"), ("#8250df", "#bc8cff")]


def style(n_series):
    def rules(dark):
        ink, line = ("#e6edf3", "#484f58") if dark else ("#1f2328", "#d0d7de")
        yield f"text{{font:12px sans-serif;fill:{ink}}} .title{{font-weight:bold;font-size:14px}} .small{{font-size:11px}}"
        yield f".grid{{stroke:{line}}} .one{{stroke:{ink};stroke-dasharray:4 3}} .goal{{stroke:{ink};stroke-width:2}} .cut{{stroke:{ink}}}"
        for i in range(n_series):
            yield f".s{i}{{fill:{COLOURS[i % len(COLOURS)][dark]}}}"

    return f"<style>{''.join(rules(0))}@media (prefers-color-scheme: dark){{{''.join(rules(1))}}}</style>"


def ticks(cap):
    step = next((s for s in (0.1, 0.25, 0.5, 1, 2, 5, 10, 25, 50) if cap / s <= 10), 100)
    return [i * step for i in range(int(cap / step + 1e-9) + 1)]


def bar(y, i, name, group, value, cap):
    """One bar with its figure; what is longer than the scale is cut, and shows it."""
    if value is None:
        yield f'<text class="small" x="{LABEL + 4}" y="{y + BAR - 2}">{escape(name)}: no figure</text>'
        return
    length = min(value, cap) / cap * WIDTH
    yield f'<rect class="s{i}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}"><title>{escape(f"{group}, {name}: {value:.2f}")}</title></rect>'
    if value > cap:
        x = LABEL + WIDTH - 14
        yield f'<path class="cut" d="M{x} {y + BAR + 1}l6 -{BAR + 2}m4 0l-6 {BAR + 2}" fill="none"/>'
    yield f'<text class="small" x="{LABEL + length + 4:.1f}" y="{y + BAR - 2}">{value:.2f}</text>'


def legend(series):
    x = LABEL
    for i, name in enumerate(series):
        yield f'<rect class="s{i}" x="{x}" y="32" width="12" height="12"/><text x="{x + 16}" y="42">{escape(name)}</text>'
        x += 34 + 7 * len(name)


def bars(title, series, groups, goals=None, cap=4.0):
    """The SVG's text. series: names. groups: [(name, [a value or None for each of series])], drawn against a scale from 0 to cap with a line at 1.
    goals: {group: value}, a tick each across the bar of the first of series."""
    height_of = len(series) * (BAR + GAP) + GROUP
    height = TOP + len(groups) * height_of + BOTTOM
    bottom = height - BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LABEL + WIDTH + VALUE} {height}" role="img">', f"<title>{escape(title)}</title>",
           style(len(series)), f'<text class="title" x="{LABEL}" y="20">{escape(title)}</text>', *legend(series)]
    for tick in ticks(cap):
        x = LABEL + tick / cap * WIDTH
        out.append(f'<line class="{"one" if tick == 1 else "grid"}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        out.append(f'<text class="small" text-anchor="middle" x="{x:.1f}" y="{bottom + 16}">{tick:g}</text>')
    for row, (group, values) in enumerate(groups):
        y = TOP + row * height_of
        out.append(f'<text text-anchor="end" x="{LABEL - 8}" y="{y + (height_of - GROUP) / 2 + 4:.0f}">{escape(group)}</text>')
        for i, (name, value) in enumerate(zip(series, values)):
            out.extend(bar(y + i * (BAR + GAP), i, name, group, value, cap))
        if goals and group in goals and goals[group] <= cap:
            x = LABEL + goals[group] / cap * WIDTH
            out.append(f'<line class="goal" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 3}" y2="{y + BAR + 3}"/>')
    out.append("</svg>\n")
    return "\n".join(out)
