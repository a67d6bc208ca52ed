//! Rows under heads, no column wider than what stands in it. Numbers stand on the right of theirs.

use super::output::Paint;

/// Between two columns.
const GAP: &str = "  ";

/// A table that is filled row by row.
#[derive(Debug)]
pub(super) struct Table {
    /// Each with whether what stands under it are numbers.
    heads: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Heads of numbers begin with `>`, which isn't shown.
    pub(super) fn new(heads: &[&str]) -> Table {
        let head = |head: &&str| match head.strip_prefix('>') {
            Some(head) => (head.to_owned(), true),
            None => ((*head).to_owned(), false),
        };
        Table { heads: heads.iter().map(head).collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.heads.len(), "each row has a cell for each head");
        self.rows.push(cells);
    }

    /// The table behind an empty line; nothing if it has no rows.
    pub(super) fn write(&self, out: &mut String, paint: Paint) {
        if self.rows.is_empty() {
            return;
        }
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| row[at].chars().count());
            cells.max().unwrap_or(0).max(self.heads[at].0.chars().count())
        };
        let widths: Vec<_> = (0..self.heads.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &String>| {
            let mut line = String::new();
            for ((cell, width), (_, is_number)) in cells.zip(&widths).zip(&self.heads) {
                let padding = " ".repeat(width - cell.chars().count());
                let (before, behind) = if *is_number { (padding, String::new()) } else { (String::new(), padding) };
                line.push_str(&format!("{before}{cell}{behind}{GAP}"));
            }
            line.trim_end().to_owned()
        };
        out.push('\n');
        out.push_str(&paint.label(&line(&mut self.heads.iter().map(|(head, _)| head))));
        out.push('\n');
        for row in &self.rows {
            out.push_str(&line(&mut row.iter()));
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let mut table = Table::new(&["kind", ">messages", "note"]);
        table.row(["lobby".to_owned(), "7".to_owned(), String::new()]);
        table.row(["é".to_owned(), "12345678901".to_owned(), "all".to_owned()]);
        let mut text = String::new();
        table.write(&mut text, Paint::none());
        assert_eq!(text, "\nkind      messages  note\nlobby            7\né      12345678901  all\n");
        let mut text = String::new();
        Table::new(&["kind"]).write(&mut text, Paint::none());
        assert_eq!(text, "");
    }
}
