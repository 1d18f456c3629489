"""Self-contained pages: one HTML file without other files, network or scripts; light, dark and printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

# The tokens of all pages; one that stands alone brings them along.
STYLE: Final = """
:root{color-scheme:light dark;--ground:#f3f5f6;--surface:#fff;--quiet:#eaeef0;--ink:#13212b;--ink-2:#43525d;
--ink-3:#5b6973;--line:#dbe1e4;--accent:#0b5c74;--soft:#e1eef2;--bad:#ab2318;--warn-soft:#fcefd6;--good:#1d6639;
--good-soft:#e2f1e6;--mark:#0b5c74;--mark-ref:#6f7c87;--mark-bad:#c0392b}
@media (prefers-color-scheme:dark){:root{--ground:#0e1417;--surface:#161e22;--quiet:#26323a;--ink:#e7edf0;
--ink-2:#b0bdc4;--ink-3:#93a2ab;--line:#29343a;--accent:#74c4da;--soft:#14323c;--bad:#ff9d92;--warn-soft:#34270f;
--good:#86d0a0;--good-soft:#15301f;--mark:#58a9c0;--mark-ref:#7d8d97;--mark-bad:#ee6f62}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:14px/1.5 "Plex Sans",system-ui,
-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1280px;margin:0 auto;padding:24px 16px 48px}h1{font-size:26px;line-height:1.2;margin:0 0 4px}
h2{font-size:16px;margin:0 0 12px}p{margin:0 0 8px}.ink2{color:var(--ink-2)}.ink3{color:var(--ink-3);font-size:12px}
section{background:var(--surface);border-radius:10px;box-shadow:0 1px 2px rgb(19 33 43/.06);padding:16px 24px;
margin:16px 0}
.lead{font-size:20px;line-height:1.35}.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
caption{text-align:left;color:var(--ink-3);font-size:12px;padding-bottom:8px}
th,td{text-align:left;padding:8px;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
th{font-weight:550}thead th{color:var(--ink-2);font-size:13px;white-space:normal;
vertical-align:bottom}.num{text-align:right}td.wide{white-space:normal;
min-width:140px;overflow-wrap:anywhere}.warn{background:var(--warn-soft);border-radius:6px;padding:8px 12px}
h3{font-size:14px;margin:16px 0 4px}
.same{background:var(--quiet)}.up{background:var(--warn-soft)}.down{background:var(--good-soft)}
.good{color:var(--good)}.bad{color:var(--bad)}svg{display:block;width:100%}.empty{fill:var(--quiet)}
.bar{fill:var(--mark)}.loss{fill:var(--mark-bad)}.axis{stroke:var(--ink-3);stroke-width:1;
vector-effect:non-scaling-stroke}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:24px}figure{margin:0}
figcaption{font-weight:550;margin-bottom:4px}figure svg text{font-size:12px;fill:var(--ink-2)}
.grid{stroke:var(--line)}.mark,.ref,.fraud{fill:none;stroke:var(--mark);stroke-width:2}.ref{stroke:var(--mark-ref);
stroke-dasharray:5 4}.fraud{stroke:var(--mark-bad)}.dots{fill:none;stroke:var(--mark);stroke-width:4;
stroke-linecap:round;opacity:.45}.points{stroke:var(--mark);stroke-width:7;stroke-linecap:round}
.key{color:var(--ink-2);font-size:12px;margin:0}.key svg{display:inline-block;
width:20px;height:8px;margin-right:4px}.key span{margin-right:12px}
a,summary{color:var(--accent)}summary{cursor:pointer}
@media print{:root{color-scheme:light}body{background:#fff}section{box-shadow:none;break-inside:avoid;padding:8px 0}
details>*{display:block}.scroll{overflow:visible}table,thead th{font-size:11px}th,td{padding:4px;
white-space:normal}td.wide{min-width:80px}}@page{size:landscape;margin:12mm}
"""


def page(title: str, project: str, parts: Iterable[str]) -> str:
    """A whole page of parts that are HTML already; title and project are escaped here."""
    whole = f"{title} \N{MIDDLE DOT} {project}" if project else title
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(whole)}</title><style>{STYLE}</style>"
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>\n{body}\n</main></body></html>\n'


def section(title: str, inside: str) -> str:
    """A panel under a heading; nothing where there is nothing inside."""
    return f"<section><h2>{escape(title)}</h2>{inside}</section>" if inside else ""


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = (), wide: Iterable[int] = ()
) -> str:
    """A table of texts, which are escaped here; a line end in one is a line end in its cell.

    Args:
        numbers: Columns that stand to the right.
        wide: Columns whose texts may break, long names behind an underscore.
    """
    kinds = {**dict.fromkeys(wide, "wide"), **dict.fromkeys(numbers, "num")}

    def line(kind: str, cells: Sequence[str]) -> str:
        marks = (f' class="{kinds[at]}"' if at in kinds else "" for at in range(len(cells)))
        scope = ' scope="col"' if kind == "th" else ""
        texts = (_broken(cell, is_wide=kind == "td" and kinds.get(at) == "wide") for at, cell in enumerate(cells))
        return "".join(f"<{kind}{scope}{mark}>{text}</{kind}>" for mark, text in zip(marks, texts, strict=True))

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{line('th', heads)}</tr></thead>"
    return f'<div class="scroll" tabindex="0"><table>{head}<tbody>{body}</tbody></table></div>'


def _broken(cell: str, *, is_wide: bool) -> str:
    """A cell as HTML, with the places where its line may break."""
    text = escape(cell).replace("\n", "<br>")
    return text.replace("_", "_<wbr>") if is_wide else text


def note(text: str) -> str:
    """A small remark under a table or a chart."""
    return f'<p class="ink3">{escape(text)}</p>'
