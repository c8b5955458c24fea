//! A table for people: columns that line up, no frames, so that `awk` and `cut` can read it too.
//!
//! Always holds: a cell is shown as one text, whatever characters are in it.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table as Grid, presets};

use super::printable;

/// The narrowest terminal that lines are broken for.
const NARROWEST: u16 = 40;

/// Rows under a header, perhaps under a title.
#[derive(Debug, Default)]
pub(crate) struct Table {
    title: Option<String>,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            ..Self::default()
        }
    }

    /// A table of names and values, without a header.
    pub(crate) fn facts<const N: usize>(facts: [(&str, String); N]) -> Self {
        Self {
            rows: facts.map(|(name, value)| vec![name.to_owned(), value]).to_vec(),
            ..Self::default()
        }
    }

    /// Under this title.
    pub(crate) fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it; with a `width`, long cells are broken into lines.
    pub(crate) fn write(&self, out: &mut impl Write, width: Option<u16>, colours: bool) -> io::Result<()> {
        let (bold, end) = if colours { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        if let Some(title) = &self.title {
            writeln!(out, "{bold}{}{end}", printable(title))?;
        }
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        if let Some(width) = width {
            grid.set_content_arrangement(ContentArrangement::Dynamic);
            grid.set_width(width.max(NARROWEST));
        }
        if !self.header.is_empty() {
            grid.set_header(&self.header);
        }
        for row in &self.rows {
            grid.add_row(row.iter().map(|cell| printable(cell)));
        }
        for column in grid.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for (place, line) in grid.lines().enumerate() {
            let line = line.trim_end();
            if place == 0 && !self.header.is_empty() {
                writeln!(out, "{bold}{line}{end}")?;
            } else {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }
}

/// A cell; `-` where there is nothing to show.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &Table, width: Option<u16>, colours: bool) -> String {
        let mut out = Vec::new();
        table.write(&mut out, width, colours).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_without_blanks_at_the_end() {
        let mut table = Table::new(&["TOPIC", "PARTITIONS"]);
        table.row(["a".into(), "1".into()]);
        table.row(["long-name".into(), "12".into()]);
        assert_eq!(
            written(&table, None, false),
            "TOPIC      PARTITIONS\na          1\nlong-name  12\n"
        );
        assert!(written(&table, None, true).starts_with("\x1b[1mTOPIC"));
    }

    #[test]
    fn a_cell_makes_no_row_and_does_not_act_on_the_terminal() {
        let mut table = Table::new(&["GROUP", "STATE"]).titled("\x1b]0;x\x07");
        table.row(["a\nb  stable\x1b[2J".into(), "empty".into()]);
        let shown = written(&table, Some(80), false);
        assert!(!shown.contains(['\x1b', '\x07']), "{shown}");
        assert_eq!(shown.lines().count(), 3, "{shown}");
        assert!(shown.contains("a\\nb  stable\\u{1b}[2J  empty"), "{shown}");
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(written(&Table::new(&["A", "B"]), None, false), "A  B\n");
    }

    #[test]
    fn facts_stand_under_their_title() {
        let table = Table::facts([("id", "x".into()), ("controller", "1".into())]).titled("Cluster");
        assert_eq!(
            written(&table, None, false),
            "Cluster\nid          x\ncontroller  1\n"
        );
    }

    #[test]
    fn long_cells_are_broken_for_a_terminal_only() {
        let mut table = Table::new(&["KEY", "MEANING"]);
        table.row(["k".into(), "word ".repeat(30)]);
        assert_eq!(written(&table, None, false).lines().count(), 2);
        assert!(written(&table, Some(40), false).lines().count() > 3);
    }
}
