"""Tables of plain text: what comes from the daemon is never markup."""

from rich.table import Table
from rich.text import Text


def new_table(*headings: str) -> Table:
    """Columns: ``>`` before a heading aligns to the right, ``~`` makes it give way where there is no room."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(
            Text(heading.lstrip(">~")),
            justify="right" if heading.startswith(">") else "left",
            no_wrap=not heading.startswith("~"),
            overflow="fold" if heading.startswith("~") else "ellipsis",
        )
    return table


def new_sheet() -> Table:
    """Names and values, one pair a line."""
    sheet = Table.grid(padding=(0, 2, 0, 0))
    sheet.add_column(no_wrap=True)
    sheet.add_column(overflow="fold")
    return sheet


def add_row(table: Table, *cells: str | Text) -> None:
    """Add a line."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def cut(text: str) -> Text:
    """For a column that gives way: cut there, where another text takes more lines."""
    return Text(text, no_wrap=True, overflow="ellipsis")
