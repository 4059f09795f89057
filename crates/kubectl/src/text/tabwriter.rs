//! Elastic tab stops: cells end in a tab, a column spans neighbouring lines that have a cell there.
//! The last text of a line is never part of a column, hence never padded.

/// How wide the columns are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The least width of a column, padding included.
    pub(crate) min_width: usize,
    /// Spaces added to the widest cell.
    pub(crate) padding: usize,
}

impl Layout {
    /// Lists of objects.
    pub(crate) const TABLE: Layout = Layout {
        min_width: 6,
        padding: 3,
    };
    /// Descriptions of one object.
    pub(crate) const DESCRIPTION: Layout = Layout {
        min_width: 0,
        padding: 2,
    };
}

/// Aligns `text`, whose cells are separated by tabs.
pub(crate) fn align(text: &str, layout: Layout) -> String {
    align_with(text, layout, &mut Vec::new())
}

/// Like [`align`], but columns are never narrower than `remembered`, which is updated:
/// the rows of a watch line up with the rows printed before.
pub(crate) fn align_with(text: &str, layout: Layout, remembered: &mut Vec<usize>) -> String {
    let ends_with_newline = text.ends_with('\n');
    let body = text.strip_suffix('\n').unwrap_or(text);
    if text.is_empty() {
        return String::new();
    }
    let lines: Vec<Vec<&str>> = body
        .split('\n')
        .map(|line| line.split('\t').collect())
        .collect();
    let widths = column_widths(&lines, layout, remembered);
    let mut out = String::with_capacity(text.len() * 2);
    for (index, (line, widths)) in lines.iter().zip(&widths).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for (column, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(column) {
                out.extend(std::iter::repeat_n(
                    ' ',
                    width.saturating_sub(cell_width(cell)),
                ));
            }
        }
    }
    if ends_with_newline {
        out.push('\n');
    }
    out
}

/// For each line the widths of its tab-terminated cells.
fn column_widths(
    lines: &[Vec<&str>],
    layout: Layout,
    remembered: &mut Vec<usize>,
) -> Vec<Vec<usize>> {
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|line| vec![0; line.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    let before = remembered.clone();
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            if widths[start].len() <= column {
                start += 1;
                continue;
            }
            let end = (start..lines.len())
                .find(|&line| widths[line].len() <= column)
                .unwrap_or(lines.len());
            let mut width = lines[start..end]
                .iter()
                .map(|line| cell_width(line[column]) + layout.padding)
                .max()
                .unwrap_or(0)
                .max(layout.min_width);
            if let Some(known) = before.get(column) {
                width = width.max(*known);
            }
            if remembered.len() == column {
                remembered.push(width);
            } else if let Some(slot) = remembered.get_mut(column) {
                *slot = width;
            }
            for line in &mut widths[start..end] {
                line[column] = width;
            }
            start = end;
        }
    }
    widths
}

fn cell_width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_three_spaces_and_six_columns_at_least() {
        let text = "NAME\tAGE\tX\na-long-name\t5s\ty\n";
        assert_eq!(
            align(text, Layout::TABLE),
            "NAME          AGE   X\na-long-name   5s    y\n"
        );
    }

    #[test]
    fn columns_end_where_a_line_has_no_such_cell() {
        let text = "Name:\tx\nContainers:\n  nginx:\n    Image:\tnginx\n    Port:\t80\n";
        assert_eq!(
            align(text, Layout::DESCRIPTION),
            "Name:  x\nContainers:\n  nginx:\n    Image:  nginx\n    Port:   80\n"
        );
    }

    #[test]
    fn later_rows_keep_the_width_of_earlier_ones() {
        let mut remembered = Vec::new();
        align_with("a-very-long-name\tx\n", Layout::TABLE, &mut remembered);
        assert_eq!(
            align_with("b\ty\n", Layout::TABLE, &mut remembered),
            "b                  y\n"
        );
    }
}
