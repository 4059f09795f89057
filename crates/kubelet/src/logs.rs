//! Container logs in the CRI format: one line is "TIME STREAM TAGS TEXT", where the tag P
//! says that the line goes on in the next.

use std::fs;
use std::path::Path;

/// One entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub time: &'a str,
    pub stream: &'a str,
    /// The line does not end here.
    pub partial: bool,
    pub text: &'a [u8],
}

/// Reads a line without its newline; `None` if it is not in the format.
pub(crate) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tags = parts.next()?;
    let text = parts.next().unwrap_or_default();
    if !matches!(stream, "stdout" | "stderr") || time.len() < 10 {
        return None;
    }
    Some(Entry {
        time,
        stream,
        partial: tags.split(|byte| *byte == b':').next() == Some(b"P"),
        text,
    })
}

/// The text of the last lines of a log; `None` if there is none.
pub(crate) fn last_lines(path: &Path, count: usize) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let entries: Vec<Entry<'_>> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(parse)
        .collect();
    let mut text = String::new();
    for entry in entries.iter().skip(entries.len().saturating_sub(count)) {
        text.push_str(&String::from_utf8_lossy(entry.text));
        if !entry.partial {
            text.push('\n');
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Where the last `lines` lines of a file begin.
pub(crate) fn tail_offset(path: &Path, lines: usize) -> std::io::Result<u64> {
    use std::io::{Read, Seek, SeekFrom};
    const BLOCK: u64 = 64 * 1024;
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    let mut end = length;
    let mut seen = 0;
    while end > 0 && lines > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let position = start + index as u64;
            // The newline that ends the file begins no line.
            if *byte == b'\n' && position + 1 < length {
                seen += 1;
                if seen == lines {
                    return Ok(position + 1);
                }
            }
        }
        end = start;
    }
    Ok(if lines == 0 { length } else { 0 })
}

/// Removes a log and what was rotated from it ("0.log.20261124-034247").
pub(crate) fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let prefix = format!("{}.", name.to_string_lossy());
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read() {
        let entry = parse(b"2026-11-24T03:42:47.1Z stdout F hello world").unwrap();
        assert_eq!(
            (entry.stream, entry.partial, entry.text),
            ("stdout", false, b"hello world".as_slice())
        );
        assert!(parse(b"2026-11-24T03:42:47.1Z stderr P x").unwrap().partial);
        assert_eq!(parse(b"2026-11-24T03:42:47.1Z stdout F").unwrap().text, b"");
        assert!(parse(b"garbage").is_none());
    }

    #[test]
    fn the_tail_begins_at_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        for (lines, offset) in [(0, 14), (1, 8), (2, 4), (3, 0), (9, 0)] {
            assert_eq!(tail_offset(&path, lines).unwrap(), offset, "{lines} lines");
        }
        fs::write(&path, format!("{}\nlast\n", "x".repeat(200_000))).unwrap();
        assert_eq!(tail_offset(&path, 1).unwrap(), 200_001);
        assert_eq!(tail_offset(&path, 2).unwrap(), 0);
    }

    #[test]
    fn the_last_lines_are_joined() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let time = "2026-11-24T03:42:47.1Z";
        fs::write(
            &path,
            format!("{time} stdout F a\n{time} stdout P b\n{time} stdout F c\n"),
        )
        .unwrap();
        assert_eq!(last_lines(&path, 2).as_deref(), Some("bc\n"));
    }
}
