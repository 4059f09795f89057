//! Lines of a description: indented by level, cells separated by tabs, aligned at the end.

use crate::text::tabwriter::{Layout, align};

/// Collects a description.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Parts that are aligned on their own.
    done: String,
    text: String,
}

impl Writer {
    /// A line at an indentation of two spaces a level.
    pub(crate) fn line(&mut self, level: usize, text: impl AsRef<str>) {
        self.part(level, text);
        self.text.push('\n');
    }

    /// Text without the end of its line.
    pub(crate) fn part(&mut self, level: usize, text: impl AsRef<str>) {
        self.text.extend(std::iter::repeat_n(' ', level * 2));
        self.text.push_str(text.as_ref());
    }

    /// `Label:` and a value in the next column.
    pub(crate) fn field(&mut self, level: usize, label: &str, value: impl std::fmt::Display) {
        self.line(level, format!("{label}:\t{value}"));
    }

    /// `Label:` and a value, unless that is empty.
    pub(crate) fn field_if(&mut self, level: usize, label: &str, value: &str) {
        if !value.is_empty() {
            self.field(level, label, value);
        }
    }

    /// What follows is aligned on its own.
    pub(crate) fn flush(&mut self) {
        self.done.push_str(&align(&self.text, Layout::DESCRIPTION));
        self.text.clear();
    }

    pub(crate) fn finish(mut self) -> String {
        self.flush();
        self.done
    }
}
