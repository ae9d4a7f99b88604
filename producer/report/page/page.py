"""The page of a report: one HTML file that asks for nothing, and whose bytes depend on what it shows alone."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from producer.report.page import sections
from producer.report.page.map_section import map_section, map_store
from producer.report.page.markup import text
from producer.report.page.plan_section import plan_section
from producer.report.page.training_section import training_section
from producer.report.targets import GENERATOR
from unrolled.errors import counted
from unrolled.format.file_info import release

if TYPE_CHECKING:
    from producer.report.facts import Shown


def render(shown: Shown, live_seconds: float = 0, source: str = "") -> str:
    """A report as HTML.

    Args:
        shown: what it shows.
        live_seconds: how often the page asks for itself again; 0 for a page that stays as it is.
        source: names what the page is made from; empty if nothing asks for that.
    """
    # Over 40 lines: one page, most of it its HTML.
    facts = shown.facts
    style, script = _asset("style.css"), _asset("script.js")
    live = f' data-live="{live_seconds:g}"' if live_seconds else ""
    made_from = f'\n<meta name="unrolled-source" content="{text(source)}">' if source else ""
    state = '<span id="live" role="status">live</span> · ' if live_seconds else ""
    return f"""<!DOCTYPE html>
<html lang="en"{live}>
<head>
<meta charset="utf-8">
{GENERATOR}{made_from}
<meta http-equiv="Content-Security-Policy" content="{policy(live=bool(live_seconds))}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<title>{text(sections.title_of(facts))} · Unrolled report</title>
<style>{style}</style>
</head>
<body>
<header id="heading">{sections.heading(facts)}</header>
<main>
{map_section(shown)}
<div id="numbers">
{plan_section(shown.plan, shown.plan_note)}
{sections.lengths(facts)}
{sections.time(facts)}
{sections.trouble(facts)}
{training_section(facts.training)}
{sections.provenance(facts)}
</div>
</main>
<footer><p>{state}Made by unrolled {text(release())} from {facts.parts:,} of {counted(facts.shards, "shard")}.
This page asks for nothing over a network.</p></footer>
{map_store(shown.state_map)}
<script>{script}</script>
</body>
</html>
"""


def policy(*, live: bool) -> str:
    """The content-security policy: this style and this script, and nothing else."""
    connect = "; connect-src 'self'" if live else ""
    return (
        f"default-src 'none'; style-src '{_hash('style.css')}'; script-src '{_hash('script.js')}'; img-src data:"
        f"{connect}; base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> str:
    return (files("producer.report.page") / name).read_text(encoding="utf-8")


@cache
def _hash(name: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_asset(name).encode()).digest()).decode()}"
