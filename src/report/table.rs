//! Plain tables: columns as wide as their widest cell, numbers to the right.

use std::fmt;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a heading.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; one that ends in `#` is of a column of numbers.
    pub fn new(headings: &[&str]) -> Self {
        let columns = headings
            .iter()
            .map(|heading| match heading.strip_suffix('#') {
                Some(heading) => (heading.to_owned(), Align::Right),
                None => ((*heading).to_owned(), Align::Left),
            })
            .collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    ///
    /// When it has not as many cells as there are columns.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = self.rows.iter().chain([&headings]).map(|row| &row[column]);
                cells.map(|cell| console::measure_text_width(cell)).max().unwrap_or(0)
            })
            .collect();
        for row in [&headings].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let fill = " ".repeat(widths[column] - console::measure_text_width(cell));
                match self.columns[column].1 {
                    Align::Left => line.extend([cell.as_str(), &fill]),
                    Align::Right => line.extend([fill.as_str(), cell]),
                }
                line.push_str("  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["volume", "bytes#", "where"]);
        table.row(vec!["A00001".into(), "1.5 TB".into(), "drive".into()]);
        table.row(vec!["A2".into(), "12 GB".into(), "vault é".into()]);
        assert_eq!(
            table.to_string(),
            "volume   bytes  where\nA00001  1.5 TB  drive\nA2       12 GB  vault é\n"
        );
    }
}
