//! Transcripts of the command line as golden files, run by our client and by the stock one against the
//! same kind of server: what a script sees must be the same.
//!
//! A transcript is lines: `$ words` runs kubectl with these words, what follows is its standard output,
//! `! ` its standard error, `? N` its exit code. After `$36 ` only a stock client of at least that minor
//! version is compared, as its wording changed there; after `$-- ` no stock client is. Ages, times, uids
//! and versions are replaced by placeholders. `FLUYT_UPDATE_GOLDEN=1` writes the files anew from our client.
#![allow(clippy::unwrap_used)] // tests may fail by panicking

use regex::Regex;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One command of a transcript and what it is to answer.
struct Step {
    /// The least minor version of a stock client that answers so; None for all, `u32::MAX` for none.
    since: Option<u32>,
    mark: String,
    words: String,
    expected: String,
    comments: String,
}

struct Client {
    program: PathBuf,
    /// Of a stock client.
    minor: Option<u32>,
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_answers_as_the_golden_files_say() {
    let ours = Client {
        program: PathBuf::from(env!("CARGO_BIN_EXE_fluyt-kubectl")),
        minor: None,
    };
    run_all(&ours).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_client_answers_as_the_golden_files_say() {
    let program = std::env::var_os("FLUYT_STOCK_KUBECTL").unwrap_or_else(|| "kubectl".into());
    let program = PathBuf::from(program);
    let version = Command::new(&program)
        .args(["version", "--client"])
        .output()
        .expect("a stock kubectl is installed (Debian's kubernetes-client), or FLUYT_STOCK_KUBECTL names one");
    let text = String::from_utf8_lossy(&version.stdout).into_owned();
    let minor = Regex::new("v1\\.([0-9]+)")
        .unwrap()
        .captures(&text)
        .and_then(|found| found[1].parse().ok())
        .expect("kubectl version tells a version");
    run_all(&Client {
        program,
        minor: Some(minor),
    })
    .await;
}

async fn run_all(client: &Client) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(
        !files.is_empty(),
        "no transcripts in {}",
        directory.display()
    );
    let mut problems = Vec::new();
    for file in files {
        problems.extend(run_file(client, &file, &directory.join("manifests")).await);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

async fn run_file(client: &Client, file: &Path, manifests: &Path) -> Vec<String> {
    let server = fluyt_apiserver::testing::start().await;
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".kube")).unwrap();
    let url = server.url();
    std::fs::write(home.path().join(".kube/config"), kubeconfig(&url)).unwrap();
    for entry in std::fs::read_dir(manifests).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), home.path().join(entry.file_name())).unwrap();
    }
    let text = std::fs::read_to_string(file).unwrap();
    let mut steps = parse(&text);
    let update = client.minor.is_none() && std::env::var_os("FLUYT_UPDATE_GOLDEN").is_some();
    let mut problems = Vec::new();
    for step in &mut steps {
        let program = client.program.clone();
        let (words, home_path) = (split_words(&step.words), home.path().to_owned());
        let output = tokio::task::spawn_blocking(move || run(&program, &words, &home_path))
            .await
            .unwrap();
        let answer = normalise(&render(&output), &url, home.path());
        if update {
            step.expected = answer;
            continue;
        }
        let comparable = match (client.minor, step.since) {
            (Some(minor), Some(since)) => minor >= since,
            _ => true,
        };
        if comparable && answer != step.expected {
            problems.push(format!(
                "{}: $ {}\n--- expected\n{}--- answered\n{answer}",
                file.file_name().unwrap().to_string_lossy(),
                step.words,
                step.expected
            ));
        }
    }
    if update {
        let text: String = steps
            .iter()
            .map(|step| {
                format!(
                    "{}{} {}\n{}",
                    step.comments, step.mark, step.words, step.expected
                )
            })
            .collect();
        std::fs::write(file, text).unwrap();
    }
    server.stop().await;
    problems
}

fn kubeconfig(url: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster:\n    server: {url}\n\
         contexts:\n- name: test\n  context:\n    cluster: test\n    user: test\nusers:\n- name: test\n  user: {{}}\n"
    )
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut comments = String::new();
    for line in text.lines() {
        if line.starts_with("# ") || (line.is_empty() && steps.is_empty()) {
            comments.push_str(&format!("{line}\n"));
        } else if line.starts_with('$') {
            let (mark, words) = line.split_once(' ').expect("a command after the dollar");
            steps.push(Step {
                since: match &mark[1..] {
                    "" => None,
                    "--" => Some(u32::MAX),
                    minor => Some(minor.parse().expect("a minor version after the dollar")),
                },
                mark: mark.to_owned(),
                words: words.to_owned(),
                expected: String::new(),
                comments: std::mem::take(&mut comments),
            });
        } else {
            let step = steps
                .last_mut()
                .expect("a transcript begins with a command");
            step.expected.push_str(&format!("{line}\n"));
        }
    }
    steps
}

/// Words as a shell would see them: single and double quotes group.
fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c == ' ' => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn run(program: &Path, words: &[String], home: &Path) -> std::process::Output {
    Command::new(program)
        .args(words)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TZ", "UTC")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the client starts")
}

fn render(output: &std::process::Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str("<no newline>\n");
    }
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        text.push_str(format!("! {line}").trim_end());
        text.push('\n');
    }
    match output.status.code() {
        Some(0) => {}
        Some(code) => text.push_str(&format!("? {code}\n")),
        None => text.push_str("? killed\n"),
    }
    text
}

/// Replaces what differs from run to run. Lines lose trailing blanks, which editors would remove.
fn normalise(text: &str, url: &str, home: &Path) -> String {
    let replacements = [
        (
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "<uid>",
        ),
        ("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "<time>"),
        (
            "(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [+-][0-9]{4}",
            "<date>",
        ),
        (
            "(?i)(resource ?version\"?:[ \t]+)\"?[0-9]+\"?",
            "${1}<version>",
        ),
        ("(?m)(^| )[0-9]+s( |$)", "${1}<age>${2}"),
        ("\\([0-9dyh]+ ago\\)", "(<age> ago)"),
        ("10\\.0\\.[0-9]+\\.[0-9]+", "<cluster-ip>"),
        ("\\b[0-9]{2}y\\b", "<years>"),
        ("/[^ ]*/(LIVE|MERGED)-[0-9A-Za-z]+", "<${1}>"),
        ("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+ [+-][0-9]{4}", "<date>"),
    ];
    let mut text = text
        .replace(url, "<server>")
        .replace(&home.display().to_string(), "<home>");
    for (pattern, replacement) in replacements {
        text = Regex::new(pattern)
            .unwrap()
            .replace_all(&text, replacement)
            .into_owned();
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.iter().map(|line| format!("{line}\n")).collect()
}
