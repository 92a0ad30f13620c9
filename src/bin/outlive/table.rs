//! Columns of text.

/// Rows under their headings; every column as wide as its widest cell, and what is counted at the right.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// Whether a column holds numbers.
    right: Vec<bool>,
}

impl Table {
    /// Headings; one that begins with `>` heads a column of numbers.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let first = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        Self { rows: vec![first], right }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub(crate) fn print(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, &width), &right) in row.iter().zip(&widths).zip(&self.right) {
                let room = " ".repeat(width - cell.chars().count());
                let (before, behind) = if right { (room.as_str(), "") } else { ("", room.as_str()) };
                line.extend([before, cell, behind, "  "]);
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Text that others wrote, without what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", ">SIZE", "STATE"]);
        assert!(table.is_empty());
        table.row(["a-long-name", "7", ""].map(str::to_owned));
        table.row(["b", "12345", "x"].map(str::to_owned));
        assert_eq!(table.print(), "NAME          SIZE  STATE\na-long-name      7\nb            12345  x\n");
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}"), "a\\u{1b}[2Jb\\nc\\u{9b}");
    }
}
