"""How the page looks: light, dark and printed. Colours carry order by lightness alone, so that any eye can read them.

In a module, not in a .css file: the page is one file, and so it needs no package data.
"""

#: Steps of the colour scale, weakest first.
STEPS = 7

_LIGHT = ("#e4eef8", "#c3daf0", "#98c1e4", "#66a3d4", "#3278b2", "#1a6099", "#0b3c66")
_DARK = ("#173049", "#1f4569", "#285a86", "#35719f", "#69a5d4", "#a0cbeb", "#dcefff")


def _steps(colours: tuple[str, ...], inks: tuple[str, ...]) -> str:
    return "".join(f"--s{i}:{c};--t{i}:{ink};" for i, (c, ink) in enumerate(zip(colours, inks, strict=True)))


_LIGHT_INKS = ("#10202e",) * 4 + ("#ffffff",) * 3
_DARK_INKS = ("#f2f6fa",) * 4 + ("#0b1826",) * 3


def contrasts() -> list[float]:
    """WCAG 2 contrast of the number in a square to the square, in both schemes."""
    return [contrast(*pair) for pair in zip(_LIGHT + _DARK, _LIGHT_INKS + _DARK_INKS, strict=True)]


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast of two colours #rrggbb, from 1 to 21."""
    dark, light = sorted((_light(one), _light(other)))
    return (light + 0.05) / (dark + 0.05)


def _light(colour: str) -> float:
    """Relative luminance of #rrggbb: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


_CLASSES = "".join(f".s{i}{{fill:var(--s{i});background:var(--s{i})}}.t{i}{{fill:var(--t{i})}}" for i in range(STEPS))

_LIGHT_VARS = (
    "--page:#ffffff;--ink:#1b242c;--soft:#58646f;--line:#d5dce2;--card:#f6f8fa;--bar:#1a6099;--bad:#b3261e;"
    "--hatch:#dde3e8;--link:#1a6099;" + _steps(_LIGHT, _LIGHT_INKS)
)
_DARK_VARS = (
    "--page:#12171c;--ink:#e6ebf0;--soft:#9ba8b4;--line:#323c46;--card:#1a2128;--bar:#69a5d4;--bad:#ff8a80;"
    "--hatch:#28313a;--link:#8fc1ea;" + _steps(_DARK, _DARK_INKS)
)

CSS = f"""
:root{{color-scheme:light dark;{_LIGHT_VARS}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK_VARS}}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif}}
main{{max-width:60rem;margin:0 auto;padding:2rem 1.25rem 4rem}}
h1{{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem}}
h2{{font-size:1.2rem;margin:2.5rem 0 .5rem}}
p,figcaption{{margin:.5rem 0;max-width:46rem}}
.soft,figcaption,caption{{color:var(--soft)}}
.facts{{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.5rem 0;padding:0;list-style:none}}
.facts li{{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .9rem;flex:1 1 9rem}}
.facts b{{display:block;font-size:1.4rem;line-height:1.2;font-variant-numeric:tabular-nums}}
figure{{margin:1rem 0}}
.scroll{{overflow-x:auto;border:1px solid var(--line);border-radius:.5rem;padding:.75rem;background:var(--page)}}
.tall{{max-height:85vh;overflow-y:auto}}
svg{{display:block;font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}}
svg.shrink{{max-width:max(100%,42rem);height:auto}}
svg .name{{unicode-bidi:isolate}}
svg text{{fill:var(--ink)}}svg .soft{{fill:var(--soft)}}svg .cell{{stroke:var(--page);stroke-width:1}}
svg .bar{{fill:var(--bar)}}svg .track{{fill:var(--card)}}svg .badbar{{fill:var(--bad)}}
svg .hatch{{stroke:var(--hatch);stroke-width:1.5}}svg .frame{{fill:none;stroke:var(--line)}}
{_CLASSES}
.legend{{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.75rem 0;padding:0;list-style:none;font-size:.85rem}}
.legend li{{display:flex;align-items:center;gap:.4rem}}
.legend i{{width:1.1rem;height:1.1rem;border-radius:.15rem;flex:none}}
.legend .none{{background:repeating-linear-gradient(135deg,var(--hatch) 0 2px,transparent 2px 6px);
border:1px solid var(--line)}}
table{{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;width:100%}}
caption{{text-align:left;padding:.25rem 0 .5rem}}
th,td{{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}}
td{{overflow-wrap:break-word;max-width:22rem}}
th{{font-weight:600}}td.n,th.n{{text-align:right}}td.n{{white-space:nowrap}}
details{{margin:.75rem 0}}summary{{cursor:pointer;color:var(--link)}}
.alarm{{border-left:.3rem solid var(--bad);padding:.4rem .8rem;background:var(--card);margin:.5rem 0}}
.alarm b{{color:var(--bad)}}
code{{font:.9em ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}}
dt{{font-weight:600;margin-top:.75rem}}dd{{margin:0;max-width:44rem}}
footer{{margin-top:3rem;border-top:1px solid var(--line);padding-top:.75rem;font-size:.85rem}}
@media print{{
:root{{color-scheme:light;{_LIGHT_VARS}}}
*{{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
body{{font-size:10.5pt}}main{{max-width:none;padding:0}}
.scroll{{overflow:visible;max-height:none;border:0;padding:0}}
svg.fit{{max-width:100%;height:auto;max-height:125mm}}
h2,h2+p,.scroll:has(svg),.legend{{break-after:avoid}}figure.whole,tr,.facts,.legend{{break-inside:avoid}}
details:not([open]){{display:none}}
}}
@page{{margin:16mm}}
"""
