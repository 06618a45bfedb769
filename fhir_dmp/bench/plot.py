"""The plot of a report: how many times its floor each workload reaches, as SVG made by hand.

https://www.w3.org/TR/SVG11/
"""

from xml.sax.saxutils import escape

from fhir_dmp.bench.figures import Figure

WIDTH, LEFT, RIGHT, BAR, GAP, HEAD, FOOT = 860, 240, 200, 15, 12, 56, 40
SHADES = ("#9ecae1", "#4292c6", "#08519c", "#041f3d")


def plot(figures: list[Figure], title: str) -> str:
    """One group of bars a workload, one bar a number of connections; the floor is the line at 1."""
    rows = [row for row in figures if row.ratio]
    groups: dict[str, list[Figure]] = {}
    for row in rows:
        groups.setdefault(row.name, []).append(row)
    height = HEAD + sum(len(group) * (BAR + 2) + GAP for group in groups.values()) + FOOT
    most = max([row.ratio for row in rows] + [1.0]) * 1.05
    span = WIDTH - LEFT - RIGHT

    def x(ratio: float) -> float:
        return LEFT + span * ratio / most

    shades = {connections: SHADES[min(n, 3)] for n, connections in enumerate(sorted({row.connections for row in rows}))}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="15" fill="#111111">{escape(title)}</text>',
    ]
    at = 16.0
    for connections, shade in shades.items():
        parts.append(f'<rect x="{at:.0f}" y="34" width="12" height="12" fill="{shade}"/>')
        said = f"{connections} connection{'s' if connections > 1 else ''}"
        parts.append(f'<text x="{at + 17:.0f}" y="44" fill="#333333">{said}</text>')
        at += 34 + 7 * len(said)
    y = float(HEAD)
    for name, group in groups.items():
        middle = y + len(group) * (BAR + 2) / 2 + 4
        parts.append(f'<text x="{LEFT - 8}" y="{middle:.0f}" text-anchor="end" fill="#111111">{escape(f"{name} {group[0].title}")}</text>')
        for row in group:
            width = x(row.ratio) - LEFT
            parts.append(f'<rect x="{LEFT}" y="{y:.0f}" width="{width:.1f}" height="{BAR}" fill="{shades[row.connections]}"/>')
            unit = "resources/s" if row.floor == "B" else "/s"
            said = f"{row.ratio:.2f} × {row.floor}, {row.rate * row.resources:,.0f} {unit}".replace(" /s", "/s")
            parts.append(f'<text x="{LEFT + width + 5:.1f}" y="{y + BAR - 3:.0f}" fill="#333333">{said}</text>')
            y += BAR + 2
        y += GAP
    parts.append(f'<line x1="{x(1):.1f}" x2="{x(1):.1f}" y1="{HEAD - 6}" y2="{y:.0f}" stroke="#cb181d" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{x(1):.1f}" y="{y + 14:.0f}" text-anchor="middle" fill="#cb181d">the floor</text>')
    return "\n".join([*parts, "</svg>", ""])
