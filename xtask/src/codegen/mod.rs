//! Generates the tables of `crates/api` from the published API data of Kubernetes.
//!
//! Only facts are taken: names, types, numbers, list and patch behaviour. Descriptions never
//! enter the output. The output is committed; a test regenerates it and compares, so the
//! tables cannot be edited by hand and cannot fall behind the generator.

mod catalogue;
mod data;
mod schema;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// One generated file: its path below the repository root and its formatted text.
pub struct Output {
    /// Path relative to the repository root.
    pub path: &'static str,
    /// The text, as rustfmt leaves it.
    pub text: String,
}

/// The root of the repository.
pub fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
        .to_path_buf()
}

/// Where the API data is expected: beside the repository.
pub fn data_directory() -> PathBuf {
    repository_root().join("../shared/kubernetes-1.36")
}

/// Produces every generated file from the data in `directory`.
pub fn generate(directory: &Path) -> Result<Vec<Output>> {
    let data = data::Data::read(directory)?;
    let names = data.type_names();
    Ok(vec![
        Output {
            path: "crates/api/src/schema/table.rs",
            text: rustfmt(&schema::emit(&data, &names)?)?,
        },
        Output {
            path: "crates/api/src/catalogue/table.rs",
            text: rustfmt(&catalogue::emit(&data, &names)?)?,
        },
    ])
}

/// Writes the generated files, or with `check` compares them with what is committed.
pub fn run(check: bool) -> Result<()> {
    let root = repository_root();
    for output in generate(&data_directory())? {
        let path = root.join(output.path);
        let current = std::fs::read_to_string(&path).unwrap_or_default();
        if current == output.text {
            continue;
        }
        if check {
            bail!("{} is out of date: run `cargo xtask codegen`", output.path);
        }
        std::fs::write(&path, output.text).with_context(|| format!("write {}", output.path))?;
        println!("wrote {}", output.path);
    }
    Ok(())
}

fn rustfmt(source: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start rustfmt")?;
    let mut input = child.stdin.take().expect("stdin was requested as a pipe");
    let text = source.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().context("run rustfmt")?;
    writer
        .join()
        .expect("the writer does not panic")
        .context("feed rustfmt")?;
    if !output.status.success() {
        bail!("rustfmt refused the generated source");
    }
    String::from_utf8(output.stdout).context("rustfmt's output is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data lies beside the repository on the machines that own it (CI is one); a lone
    /// clone has nothing to compare with.
    #[test]
    fn committed_tables_are_what_the_generator_writes() {
        let directory = data_directory();
        if !directory.exists() {
            eprintln!("no API data at {}; nothing to compare", directory.display());
            return;
        }
        for output in generate(&directory).expect("the data is readable") {
            let committed = std::fs::read_to_string(repository_root().join(output.path))
                .expect("the table is committed");
            assert!(
                committed == output.text,
                "{} differs from what `cargo xtask codegen` writes",
                output.path
            );
        }
    }
}
