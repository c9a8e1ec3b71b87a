//! Standard output: lines and tables for people, JSON for programs, raw bytes for pipes.
//!
//! One buffered writer, flushed by [`Output::finish`]; a reader that goes away ends the command quietly. Text passes through
//! [`text`](super::text) before it comes here. `docs/json.md` documents every JSON form: one document, or one document a line.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use super::exit::{Done, output_failed};

/// Standard output.
pub(super) struct Output {
    to: BufWriter<StdoutLock<'static>>,
}

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells under a heading, each column as wide as its widest cell.
pub(super) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Output {
    /// Standard output, to be finished by [`Output::finish`].
    pub(super) fn new() -> Self {
        Self {
            to: BufWriter::with_capacity(64 << 10, io::stdout().lock()),
        }
    }

    /// One line.
    pub(super) fn line(&mut self, text: impl AsRef<str>) -> Done {
        self.raw(text.as_ref().as_bytes())?;
        self.raw(b"\n")
    }

    /// One JSON document, indented.
    pub(super) fn json(&mut self, document: &impl Serialize) -> Done {
        serde_json::to_writer_pretty(&mut self.to, document)
            .map_err(io::Error::from)
            .map_err(output_failed)?;
        self.raw(b"\n")
    }

    /// One JSON document on one line, of many.
    pub(super) fn json_line(&mut self, document: &impl Serialize) -> Done {
        serde_json::to_writer(&mut self.to, document)
            .map_err(io::Error::from)
            .map_err(output_failed)?;
        self.raw(b"\n")
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Done {
        self.to.write_all(bytes).map_err(output_failed)
    }

    /// Everything that was written is out.
    pub(super) fn finish(mut self) -> Done {
        self.to.flush().map_err(output_failed)
    }

    /// A whole table.
    pub(super) fn table(&mut self, table: &Table) -> Done {
        let mut widths = vec![0; table.columns.len()];
        for row in &table.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &table.rows {
            let mut line = String::new();
            for ((cell, width), align) in row.iter().zip(&widths).zip(&table.columns) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let pad = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => line.extend([cell.as_str(), &pad]),
                    Align::Right => line.extend([pad.as_str(), cell]),
                }
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            columns: columns.iter().map(|(_, align)| *align).collect(),
            rows: vec![
                columns
                    .iter()
                    .map(|(heading, _)| (*heading).to_owned())
                    .collect(),
            ],
        }
    }

    /// Two columns without a heading: what, and its value.
    pub(super) fn facts() -> Self {
        Self {
            columns: vec![Align::Left, Align::Left],
            rows: Vec::new(),
        }
    }

    /// One more row, with one cell for each column.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// One more fact, unless its value is empty.
    pub(super) fn fact(&mut self, what: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.rows.push(vec![what.to_owned(), value]);
        }
    }
}

/// True if a person reads standard output.
pub(super) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}
