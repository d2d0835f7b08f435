"""How the story looks, on top of `style`: ranges, statuses and cards; light, dark and printed."""

from pipelines.report.style import CSS, contrast

#: Far below, below, normal, above, far above the own range: (square, ink) in each scheme.
_LIGHT = {
    "lo2": ("#1f6199", "#ffffff"), "lo1": ("#b5d3ec", "#10202e"), "mid": ("#f1f4f6", "#1b242c"),
    "hi1": ("#f8cf9b", "#2b1a05"), "hi2": ("#a8470a", "#ffffff"),
}  # fmt: skip
_DARK = {
    "lo2": ("#7fbdf0", "#0b1826"), "lo1": ("#234868", "#f2f6fa"), "mid": ("#1d242b", "#e6ebf0"),
    "hi1": ("#6a4210", "#fff3e2"), "hi2": ("#f5ad5a", "#2b1a05"),
}  # fmt: skip


def level_contrasts() -> list[float]:
    """WCAG 2 contrast of the number in each square to the square, in both schemes."""
    return [contrast(*pair) for scheme in (_LIGHT, _DARK) for pair in scheme.values()]


def _vars(scheme: dict[str, tuple[str, str]], *, dark: bool) -> str:
    marks = (
        "--band:#2c3c4a;--ridge:#35719f;--warn:#f5ad5a;" if dark else "--band:#dde9f3;--ridge:#98c1e4;--warn:#a8470a;"
    )
    return marks + "".join(f"--{name}:{square};--on-{name}:{ink};" for name, (square, ink) in scheme.items())


_LEVELS = "".join(
    f"svg .map-{n}{{fill:var(--{n})}}svg .on-{n}{{fill:var(--on-{n})}}.legend .map-{n}{{background:var(--{n})}}"
    for n in _LIGHT
)

STORY_CSS = f"""{CSS}
:root{{{_vars(_LIGHT, dark=False)}}}
@media (prefers-color-scheme:dark){{:root{{{_vars(_DARK, dark=True)}}}}}
{_LEVELS}
svg .map-none{{fill:var(--page)}}svg rect.map-none[fill]{{fill:url(#maphatch)}}
.legend .map-mid,.legend .map-none,.legend .band{{border:1px solid var(--line)}}
.legend .band{{background:var(--band)}}.legend .outside{{background:var(--warn);opacity:.6}}
svg .band{{fill:var(--band)}}svg .ridge{{fill:var(--ridge);fill-opacity:.16}}svg .outside{{fill:var(--warn);fill-opacity:.45}}
svg .crest{{fill:none;stroke:var(--bar);stroke-width:1.75;stroke-linejoin:round}}
svg .dot{{fill:var(--bar);stroke:var(--page);stroke-width:1.5}}svg .dot.out{{fill:var(--warn)}}
svg .zero{{stroke:var(--soft);stroke-dasharray:3 3}}svg line.frame{{stroke:var(--line)}}
svg .whisker{{stroke-width:2}}svg .whisker.firm{{stroke:var(--bar)}}svg .whisker.loose{{stroke:var(--soft)}}
svg .point.firm{{fill:var(--bar)}}svg .point.loose{{fill:var(--page);stroke:var(--soft);stroke-width:2}}
svg .word.firm{{fill:var(--bar)}}svg .word.loose{{fill:var(--soft)}}
.short{{font-size:1.1rem;margin:1rem 0;padding:0;list-style:none;max-width:50rem}}
.short li{{margin:.35rem 0;padding-left:1.1rem;text-indent:-1.1rem}}.short li::before{{content:"– "}}
article{{border:1px solid var(--line);border-radius:.5rem;padding:.75rem 1rem;margin:.75rem 0;background:var(--card)}}
article h3{{font-size:1rem;margin:0 0 .35rem;overflow-wrap:anywhere}}article p{{margin:.35rem 0;overflow-wrap:anywhere}}
article table{{background:none}}
.chip{{display:inline-block;border:1px solid var(--soft);border-radius:1rem;padding:.05rem .6rem;font-size:.85rem;
font-weight:600;color:var(--soft);margin-right:.5rem;white-space:nowrap}}
.chip.firm{{border-color:var(--bar);color:var(--bar)}}.chip.warn{{border-color:var(--warn);color:var(--warn)}}
article dl{{display:grid;grid-template-columns:minmax(7rem,13rem) 1fr;gap:.35rem 1rem;margin:.5rem 0}}
article dt{{margin:0;font-weight:400;color:var(--soft)}}article dd{{max-width:none;overflow-wrap:anywhere}}
article p,article li{{max-width:none}}article ul{{margin:.25rem 0;padding-left:1.25rem}}
@media (max-width:40rem){{article dl{{grid-template-columns:1fr;gap:0}}article dt{{margin-top:.5rem;font-size:.85rem}}}}
nav ul{{display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:0;margin:1rem 0;list-style:none}}nav a{{color:var(--link)}}
h1,h2{{overflow-wrap:anywhere}}
@media print{{
:root{{{_vars(_LIGHT, dark=False)}}}
nav{{display:none}}article,figure.whole{{break-inside:avoid}}h2,h3,h2+p,h3+p,section>p{{break-after:avoid}}
svg.fit{{max-height:190mm}}
.short{{font-size:1em}}article{{background:none}}
}}
"""
