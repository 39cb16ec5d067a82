"""Plots the output of the benchmark `large` as growth.svg: seconds and peak memory by size, on logarithmic axes.

    cargo bench -p chiasm-transport --profile dev --bench large -- ... | tee large.log; python growth.py large.log
"""
import math, pathlib, re, sys

LINE = re.compile(r"^(.+): n (\d+), ([\d.]+) s, processor ([\d.]+) s, peak (\d+) MiB")
COLOURS = {"rank 64": "#0b6e99", "streaming": "#c4501b"}
WIDTH, HEIGHT, LEFT, TOP = 300, 220, 60, 30

rows = [m.groups() for m in map(LINE.match, open(sys.argv[1])) if m]
solvers = list(dict.fromkeys(row[0] for row in rows))


def panel(x0, title, column):
    points = {s: [(int(r[1]), float(r[column])) for r in rows if r[0] == s] for s in solvers}
    sizes = sorted({n for line in points.values() for n, _ in line})
    values = [v for line in points.values() for _, v in line]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    span = math.log10(sizes[-1] / sizes[0])
    x = lambda n: x0 + WIDTH * math.log10(n / sizes[0]) / span
    y = lambda v: TOP + HEIGHT * (high - math.log10(v)) / (high - low)
    out = [f'<text x="{x0 + WIDTH / 2}" y="18" text-anchor="middle" font-weight="bold">{title}</text>']
    for power in range(low, high + 1):
        at = y(10.0**power)
        out.append(f'<line x1="{x0}" x2="{x0 + WIDTH}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{x0 - 6}" y="{at + 4:.1f}" text-anchor="end">{10**power:g}</text>')
    for n in sizes:
        out.append(f'<text x="{x(n):.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{n // 1000}k</text>')
    out.append(f'<text x="{x0 + WIDTH / 2}" y="{TOP + HEIGHT + 36}" text-anchor="middle">points on each side</text>')
    for place, (solver, line) in enumerate(points.items()):
        colour = COLOURS.get(solver, "#444")
        path = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(n):.1f}" cy="{y(v):.1f}" r="3" fill="{colour}"/>' for n, v in line]
        (n0, v0), (n1, v1) = line[0], line[-1]
        slope = math.log(v1 / v0) / math.log(n1 / n0)
        out.append(f'<text x="{x0 + 8}" y="{TOP + 16 + 16 * place}" fill="{colour}">{solver}: n^{slope:.2f}</text>')
    return out


body = panel(LEFT, "seconds", 2) + panel(LEFT + WIDTH + 90, "peak memory, MiB", 4)
size = f'width="{2 * WIDTH + LEFT + 120}" height="{TOP + HEIGHT + 50}"'
text = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
text += '<rect width="100%" height="100%" fill="white"/>' + "\n".join(body) + "</svg>\n"
(pathlib.Path(__file__).parent / "growth.svg").write_text(text)
