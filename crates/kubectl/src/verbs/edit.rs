//! `edit`: the live objects in the user's editor; what was changed is sent as a patch.

use super::common::{DryRun, patch_difference};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::{LAST_APPLIED, map_mut, without_managed_fields};
use crate::output;
use crate::printers::display;
use crate::selection::{Choice, Reference, SelectorFlags};
use crate::text::{gojson, goquote::quote, yaml};
use serde_json::{Value, json};
use std::io::Write;

const MANAGER: &str = "kubectl-edit";
const HEADER: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

/// Edit a resource on the server
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl edit svc/registry
  KUBE_EDITOR=\"nano\" kubectl edit svc/registry
  kubectl edit deployment/mydeployment -o yaml --save-config")]
pub(crate) struct Arguments {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    selectors: SelectorFlags,
    /// Output format of the editor's file: yaml or json
    #[arg(long, short = 'o', default_value = "yaml")]
    output: String,
    /// Save the configuration of the object in its annotation
    #[arg(long)]
    save_config: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let choice = Choice {
        words: &arguments.words,
        files: arguments.files.clone(),
        selectors: arguments.selectors.clone(),
        type_alone: true,
        ..Choice::default()
    };
    let (references, mut failures) = choice.objects(context, true).await?;
    if references.is_empty() && failures.is_empty() {
        return Err(Failure::message("edit cancelled, no objects found"));
    }
    for reference in references {
        if let Err(failure) = edit(context, &arguments, reference).await {
            failures.push(failure);
        }
    }
    Failure::collect(failures)
}

async fn edit(context: &Context, arguments: &Arguments, reference: Reference) -> Result<(), Failure> {
    let original = without_managed_fields(reference.value.clone());
    let render = |object: &Value| match arguments.output.as_str() {
        "json" => gojson::pretty(object, 4) + "\n",
        _ => yaml::to_string(object),
    };
    let mut text = format!("{HEADER}{}", render(&original));
    let mut file = tempfile(&arguments.output)?;
    loop {
        file.write(&text)?;
        run_editor(&file.path)?;
        let edited = std::fs::read_to_string(&file.path)?;
        let bare: String = edited.lines().filter(|line| !line.starts_with('#')).collect();
        if bare.trim().is_empty() {
            return Err(Failure::message("Edit cancelled, saved file was empty."));
        }
        let problem = match yaml::parse(&edited) {
            Ok(mut wanted) if wanted.is_object() => {
                if wanted == original {
                    output::error_line("Edit cancelled, no changes made.");
                    return Ok(());
                }
                if arguments.save_config {
                    super::common::annotate_last_applied(&mut wanted);
                } else if original["metadata"]["annotations"][LAST_APPLIED].is_string() {
                    let text = super::common::last_applied_text(&without_server_fields(&wanted));
                    map_mut(&mut wanted, &["metadata", "annotations"]).insert(LAST_APPLIED.to_owned(), json!(text));
                }
                let before = reference.clone().with_value(original.clone());
                match patch_difference(context, &before, &wanted, MANAGER, DryRun::None).await {
                    Ok(object) => {
                        output::line(format!("{} edited", display(&object)));
                        return Ok(());
                    }
                    Err(failure @ Failure::Transport { .. }) => return Err(failure),
                    Err(failure) => failure.render(),
                }
            }
            Ok(_) => "the file is not an object".to_owned(),
            Err(error) => error,
        };
        if edited == text {
            file.keep();
            output::error_line(format!("error: {} is invalid", display(&original)));
            output::error_line(format!("A copy of your changes has been stored to {}", quote(&file.path)));
            return Err(Failure::message("Edit cancelled, no valid changes were saved."));
        }
        let comment: String = problem.lines().map(|line| format!("# {line}\n")).collect();
        let body: Vec<&str> = edited.lines().filter(|line| !line.starts_with('#')).collect();
        text = format!("{HEADER}{comment}#\n{}\n", body.join("\n"));
    }
}

/// The annotation holds the configuration, not what the server added to the object.
fn without_server_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    for field in ["creationTimestamp", "generation", "resourceVersion", "uid", "selfLink"] {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove(field);
        }
    }
    object
}

struct EditedFile {
    path: String,
    keep: bool,
}

impl EditedFile {
    fn write(&mut self, text: &str) -> Result<(), Failure> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        Ok(file.write_all(text.as_bytes())?)
    }

    fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for EditedFile {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn tempfile(extension: &str) -> Result<EditedFile, Failure> {
    let name = format!(
        "kubectl-edit-{}-{}.{extension}",
        std::process::id(),
        jiff::Timestamp::now().as_nanosecond()
    );
    let path = std::env::temp_dir().join(name);
    Ok(EditedFile {
        path: path.display().to_string(),
        keep: false,
    })
}

fn run_editor(path: &str) -> Result<(), Failure> {
    let editor = ["KUBE_EDITOR", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|editor| !editor.is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    // The variable may hold arguments; the shell takes it apart.
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh", path])
        .status()
        .map_err(|error| Failure::message(format!("unable to launch the editor {}: {error}", quote(&editor))))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::message(format!("there was a problem with the editor {}", quote(&editor))))
}
