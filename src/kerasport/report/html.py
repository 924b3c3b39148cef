"""Reports as HTML for notebooks.

The fragment inherits the text color of the page. Backgrounds are translucent, and the two accent
colors are readable on white and on black, so it fits light and dark themes.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from kerasport.errors import legible
from kerasport.report.view import (
    Block,
    Fact,
    Facts,
    Headline,
    Item,
    Listing,
    Prose,
    Snippet,
    Step,
    Steps,
    Table,
    View,
)

STYLE = """<style>
.kerasport{font:14px/1.5 system-ui,sans-serif;max-width:52em;color:inherit}
.kerasport p,.kerasport ul,.kerasport pre,.kerasport table{margin:.3em 0;padding:0}
.kerasport h4{font-size:1em;font-weight:600;margin:1.1em 0 .3em}
.kerasport .headline{font-size:1.15em;font-weight:600;margin:.4em 0 .8em}
.kerasport .good{color:#259447}
.kerasport .bad{color:#d7373f}
.kerasport .quiet{opacity:.7}
.kerasport ul{list-style:none}
.kerasport li{margin:.35em 0}
.kerasport li p{margin:0}
.kerasport table,.kerasport td,.kerasport th{font:inherit;text-align:left}
.kerasport table{border-collapse:collapse;border:0;width:auto}
.kerasport tr,.kerasport tbody tr:nth-child(odd),.kerasport tbody tr:hover{background:none}
.kerasport th,.kerasport td{text-align:left;vertical-align:top;padding:.15em 1.5em .15em 0;border:0;
white-space:normal}
.kerasport th{opacity:.7;white-space:nowrap}
.kerasport pre,.kerasport code{font:13px/1.5 ui-monospace,Menlo,Consolas,monospace;color:inherit;
background:rgba(128,128,128,.14);border-radius:5px}
.kerasport pre{padding:.7em .9em;overflow-x:auto;white-space:pre}
.kerasport code{padding:.1em .35em;white-space:nowrap}
.kerasport summary{cursor:pointer;opacity:.65}
</style>"""

MANY = 12  # rows; longer tables are folded


def fragment(view: View) -> str:
    """A view as a fragment of HTML. Texts are escaped, so texts from files cannot run scripts."""
    return f'{STYLE}<div class="kerasport">{"".join(map(_block, view))}</div>'


def _block(block: Block) -> str:
    match block:
        case Headline():
            return _tag("p", _text(block.text), f"headline {block.tone}")
        case Prose():
            return _tag("p", _text(block.text))
        case Facts():
            title = _title(block.title) if block.title else ""
            return title + _tag("table", "".join(map(_fact, block.rows)))
        case Listing():
            return _title(block.title) + _tag("ul", "".join(map(_item, block.items)))
        case Table():
            return _table(block)
        case Snippet():
            hint = _tag("p", _text(block.hint), "quiet") if block.hint else ""
            return _title(block.title) + _tag("pre", escape(block.code)) + hint
        case Steps():
            return _title("Next steps") + _tag("table", "".join(map(_step, block.rows)))


def _fact(fact: Fact) -> str:
    details = "".join(_tag("div", _text(line), "quiet") for line in fact.details)
    value = _tag("div", _text(fact.value)) + details
    return _tag("tr", _tag("th", _text(fact.label)) + _tag("td", value))


def _item(item: Item) -> str:
    head = f"{_tag('strong', _text(item.head))}{': ' * bool(item.text)}" if item.head else ""
    text = _tag("p", head + _text(item.text))
    remedy = _tag("p", _tag("span", "Fix: ", "quiet") + _text(item.remedy)) if item.remedy else ""
    command = _tag("p", _tag("code", _text(item.command))) if item.command else ""
    return _tag("li", text + remedy + command)


def _table(block: Table) -> str:
    head = _row("th", block.head, "")
    rows = "".join(
        _row("td", row, "bad" if i in block.bad else "") for i, row in enumerate(block.rows)
    )
    table = _tag("table", head + rows)
    summary = _text(block.summary or block.title)
    if len(block.rows) > MANY:
        return _tag("details", _tag("summary", summary) + table)
    return (
        (_title(block.title) if block.title else "")
        + table
        + _tag("p", _text(block.summary), "quiet")
    )


def _row(tag: str, cells: Iterable[str], style: str) -> str:
    return _tag("tr", "".join(_tag(tag, _text(cell)) for cell in cells), style)


def _step(step: Step) -> str:
    return _tag("tr", _tag("td", _text(step.what)) + _tag("td", _tag("code", escape(step.command))))


def _title(title: str) -> str:
    return _tag("h4", _text(title))


def _tag(name: str, content: str, style: str = "") -> str:
    styled = f' class="{style}"' if style else ""
    return f"<{name}{styled}>{content}</{name}>"


def _text(text: str) -> str:
    return escape(legible(text))
