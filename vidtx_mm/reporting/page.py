"""The page of a report: one HTML file that holds its pictures and needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from .metrics import ClassRow

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em } img { max-width: 100%; height: auto }
.tiles { display: flex; flex-wrap: wrap; gap: 1em } .tile { border: 1px solid #ddd; padding: .5em 1em; min-width: 7em }
.tile b { display: block; font-size: 1.4em } table { border-collapse: collapse } td, th { padding: .25em .8em }
th { cursor: pointer; text-align: left; border-bottom: 2px solid #999 } td { border-bottom: 1px solid #eee }
td.number { text-align: right; font-variant-numeric: tabular-nums } code { background: #f4f4f4; padding: 0 .3em }
.scroll { max-height: 40em; overflow-y: auto }
"""
SORT = """
document.querySelectorAll('th').forEach((head, column) => head.addEventListener('click', () => {
  const body = head.closest('table').tBodies[0], rising = head.dataset.rising !== 'true'
  head.dataset.rising = rising
  const value = row => row.cells[column].dataset.value
  const order = (a, b) => isNaN(value(a)) || isNaN(value(b)) ? value(a).localeCompare(value(b)) : value(a) - value(b)
  ;[...body.rows].sort((a, b) => rising ? order(a, b) : order(b, a)).forEach(row => body.append(row))
}))
"""
HEADS = ('class', 'clips', 'recall', 'precision', 'most often taken for')


def write_page(
    file: Path,
    title: str,
    facts: Mapping[str, str],
    figures: Mapping[str, Path],
    rows: Sequence[ClassRow],
    unreadable: Mapping[str, str],
    notes: Sequence[str],
) -> None:
    """Write the page.

    Args:
        facts: figures in large type, by name.
        figures: PNG files by heading; they are copied into the page.
        rows: the table of classes, which sorts by any column.
        unreadable: videos that could not be read, with the reasons.
        notes: lines below the title.
    """
    parts = [f'<h1>{escape(title)}</h1>', *(f'<p>{escape(note)}</p>' for note in notes)]
    tiles = ''.join(f'<div class="tile">{escape(name)}<b>{escape(value)}</b></div>' for name, value in facts.items())
    parts.append(f'<div class="tiles">{tiles}</div>')
    for heading, picture in figures.items():
        data = base64.b64encode(picture.read_bytes()).decode()
        parts.append(f'<h2>{escape(heading)}</h2><img alt="{escape(heading)}" src="data:image/png;base64,{data}">')
    parts.append(f'<h2>Classes</h2><p>A click on a heading sorts.</p><div class="scroll">{_table(rows)}</div>')
    if unreadable:
        items = ''.join(f'<li><code>{escape(video)}</code> {escape(why)}</li>' for video, why in unreadable.items())
        parts.append(f'<h2>Unreadable videos, counted as wrong</h2><ul>{items}</ul>')
    body = '\n'.join(parts)
    file.write_text(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>\n'
        f'<body>\n{body}\n<script>{SORT}</script></body></html>\n',
        encoding='utf-8',
    )


def _table(rows: Sequence[ClassRow]) -> str:
    heads = ''.join(f'<th>{name}</th>' for name in HEADS)
    lines = []
    for row in rows:
        cells = [_cell(row.name), _number(row.support, 'd'), _number(row.recall), _number(row.precision)]
        lines.append(f'<tr>{"".join(cells)}{_cell(row.taken_for)}</tr>')
    return f'<table><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _cell(text: str) -> str:
    return f'<td data-value="{escape(text)}">{escape(text)}</td>'


def _number(value: float | None, form: str = '.3f') -> str:
    """A cell with a number; an absent one sorts below all others."""
    if value is None:
        return '<td class="number" data-value="-1"></td>'
    return f'<td class="number" data-value="{value}">{value:{form}}</td>'
