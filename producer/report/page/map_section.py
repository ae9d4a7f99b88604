"""The map in a page: what is seen without a script, and the points for the script."""

from __future__ import annotations

import base64
import json
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.report.page.markup import number, text
from producer.report.states.colours import Groups
from producer.report.states.state_map import UNKNOWN_FILE, short_id
from producer.report.states.texts import shown, shown_ends
from unrolled.errors import counted

if TYPE_CHECKING:
    from producer.report.facts import Shown
    from producer.report.states.state_map import StateMap

#: Bytes that the points of a page may take, and how far their texts are cut to fit.
MOST_BYTES = 1_700_000
_CUTS = (240, 160, 110, 80, 60, 40, 24, 0)
#: Characters of a group's name that are shown.
_LONGEST_NAME = 80
#: Points of the picture that is seen without a script.
_STILL_POINTS = 2_000


def map_section(shown_: Shown) -> str:
    """The section with the map, or with the reason why there is none."""
    found = shown_.state_map
    if found is None:
        return (
            '<section id="map" class="wide"><header><h2>Map of the states</h2></header>'
            f"<p>{text(shown_.without_map)}</p></section>"
        )
    kind = "token" if found.of_tokens else "row"
    points = (
        counted(len(found), kind)
        if len(found) == found.total
        else (f"{number(len(found))} of {counted(found.total, kind)}, drawn at random")
    )
    label = f"Map of {points} by {found.title}"
    keys = "Arrow keys move it, plus and minus zoom, 0 shows all of it."
    return f"""<section id="map" class="wide"><header><h2>Map of the states</h2>
<p>{points}, by {text(found.title)} of column <code>{text(found.column)}</code>.</p></header>
<div class="tools">
<label class="grow">Search ids and texts<input id="search" type="search" autocomplete="off" spellcheck="false"></label>
<label>Colour<select id="colour"></select></label>
<div class="zoom" role="group" aria-label="Zoom"><button id="nearer" type="button" aria-label="Zoom in">+</button>
<button id="farther" type="button" aria-label="Zoom out">&minus;</button>
<button id="whole" type="button">Whole map</button></div>
</div>
<div class="view"><div>
<div class="sheet">
<canvas id="canvas" tabindex="0" role="application" aria-label="{text(label)}. {keys}"></canvas>
{_still(found, label)}</div>
<ul class="legend" id="legend" aria-label="Colours"></ul></div>
<div class="side"><p id="found" class="quiet" role="status"></p><ul id="hits" class="list hits"></ul>
<div id="point" aria-live="polite"></div></div>
</div>
<p class="note" id="map-note">{text(found.note, 2000)}</p>
{_left_out(shown_.facts.not_finite, kind)}
{_unmatched(found)}
<p class="note help">Drag to move it. Zoom with <kbd>+</kbd> and <kbd>&minus;</kbd>, with Ctrl and the wheel,
or with the wheel alone once you have clicked the map; <kbd>0</kbd> shows all.</p>
</section>"""


def _left_out(count: int, kind: str) -> str:
    if not count:
        return ""
    are = "has no point, because its vector has" if count == 1 else "have no point, because their vectors have"
    return f'<p class="note">{counted(count, kind)} {are} a number that is infinite or not a number.</p>'


def _unmatched(found: StateMap) -> str:
    return f'<p class="note">{text(found.unmatched, 2000)}</p>' if found.unmatched else ""


def map_store(found: StateMap | None) -> str:
    """The points, for the script: JSON, compressed, as text that no parser of HTML can mistake."""
    if found is None:
        return '<div id="map-store"></div>'
    packed = _packed(found)
    return f'<div id="map-store"><script type="text/plain" id="map-data">{packed}</script></div>'


@lru_cache(maxsize=2)
def _packed(found: StateMap) -> str:
    for cut in _CUTS:
        content = json.dumps(_content(found, cut), separators=(",", ":"), allow_nan=False).encode()
        packed = base64.b64encode(zlib.compress(content, 9)).decode()
        if len(packed) <= MOST_BYTES:
            break
    return packed


def _content(found: StateMap, cut: int) -> dict[str, Any]:
    files = list(dict.fromkeys(found.files))
    numbers = {name: at for at, name in enumerate(files)}
    ids_cut = max(cut, 24)
    return {
        "kind": "token" if found.of_tokens else "row",
        "xy": found.placed().reshape(-1).tolist(),
        "ids": [shown(short_id(each), ids_cut) for each in found.ids],
        "texts": None if found.texts is None or cut == 0 else [shown(each, cut) for each in found.texts],
        "lengths": found.lengths.tolist(),
        "positions": found.positions.tolist() if found.of_tokens else None,
        "files": {
            "names": [shown_ends(name or UNKNOWN_FILE, 120) for name in files],
            "of": [numbers[name] for name in found.files],
        },
        "near": found.neighbours.shape[1],
        "neighbours": found.neighbours.reshape(-1).tolist(),
        "cosines": np.rint(found.cosines.reshape(-1) * 100).astype(int).tolist(),
        "colours": [_colour(each) for each in found.colours],
    }


def _colour(shade: Any) -> dict[str, Any]:
    if isinstance(shade, Groups):
        names = [shown_ends(name, _LONGEST_NAME) for name in shade.names]
        return {"title": shown(shade.title, 60), "names": names, "counts": shade.counts, "of": shade.of.tolist()}
    values = [None if not np.isfinite(value) else value for value in shade.values.tolist()]
    return {"title": shown(shade.title, 60), "values": values, "logarithmic": shade.logarithmic}


def _still(found: StateMap, label: str) -> str:
    """The map as a picture that needs no script; at most a few thousand points."""
    few = found.placed()[:: max(1, -(-len(found) // _STILL_POINTS))].astype(np.int64) * 960 // 65_535 + 20
    path = "".join(f"M{x},{1000 - y}h0" for x, y in few.tolist())
    return (
        f'<svg class="still" viewBox="0 0 1000 1000" role="img" aria-label="{text(label)}">'
        f'<path class="dots" d="{path}"/></svg>'
    )
