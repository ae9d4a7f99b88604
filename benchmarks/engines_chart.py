"""A bar chart as SVG, without a plotting library."""

from collections.abc import Sequence
from pathlib import Path

ROW, LABEL, WIDTH = 30, 190, 760


def write_chart(path: str, bars: Sequence[tuple[str, float, float]]) -> None:
    """Write pairs of bars (label, fused, best peer), each pair scaled to the best peer's rate.

    Args:
        path: the SVG file.
        bars: labels and rates in tokens a second.
    """
    longest = max((max(fused / peer, 1.0) for _, fused, peer in bars), default=1.0)
    scale = (WIDTH - LABEL - 150) / longest
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{ROW * len(bars) + 50}" '
            'font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20" font-weight="bold">Real tokens a second against the best peer (= 1)</text>',
    ]
    for k, (label, fused, peer) in enumerate(bars):
        top = 35 + k * ROW
        ratio = fused / peer
        parts += [
            f'<text x="{LABEL - 8}" y="{top + 14}" text-anchor="end">{label}</text>',
            f'<rect x="{LABEL}" y="{top}" width="{ratio * scale:.0f}" height="10" fill="#1f6feb"/>',
            f'<rect x="{LABEL}" y="{top + 11}" width="{scale:.0f}" height="10" fill="#b0b8c4"/>',
            f'<text x="{LABEL + max(ratio, 1) * scale + 8:.0f}" y="{top + 14}">{ratio:.2f} · {fused:,.0f}/s</text>',
        ]
    Path(path).write_text("\n".join([*parts, "</svg>\n"]))
