//! Standard output and error. A reader that went away (`kubectl get pods | head`) ends the program
//! quietly instead of with a panic.

use std::io::Write;

/// Writes to standard output.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(1);
    }
}

/// Writes bytes to standard output.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Writes a line to standard output.
pub(crate) fn line(text: impl AsRef<str>) {
    print(&format!("{}\n", text.as_ref()));
}

/// Writes a line to standard error; there is nobody to tell if that fails.
pub(crate) fn error_line(text: impl AsRef<str>) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(format!("{}\n", text.as_ref()).as_bytes());
    let _ = out.flush();
}

/// A warning line; yellow nowhere, as output is compared and parsed.
pub(crate) fn warning(text: impl AsRef<str>) {
    error_line(format!("Warning: {}", text.as_ref()));
}
