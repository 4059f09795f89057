//! The command line: global flags, the tree of verbs, and the reference client's wording for what is
//! wrong with a command line. Flags follow its conventions: `--flag=false` for switches, values that may
//! start with a dash, short flags that can be joined.

use crate::failure::Failure;
use crate::text::goquote::quote;
use crate::verbs;
use clap::builder::{BoolishValueParser, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// The flags that every verb takes.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct Globals {
    /// Path to the kubeconfig file to use for CLI requests
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// The name of the kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The name of the kubeconfig cluster to use
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The name of the kubeconfig user to use
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// If present, the namespace scope for this CLI request
    #[arg(long, short = 'n', global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The address and port of the Kubernetes API server
    #[arg(long, short = 's', global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Bearer token for authentication to the API server
    #[arg(long, global = true)]
    pub token: Option<String>,
    /// Path to a cert file for the certificate authority
    #[arg(long, global = true, value_name = "FILE")]
    pub certificate_authority: Option<String>,
    /// Path to a client certificate file for TLS
    #[arg(long, global = true, value_name = "FILE")]
    pub client_certificate: Option<String>,
    /// Path to a client key file for TLS
    #[arg(long, global = true, value_name = "FILE")]
    pub client_key: Option<String>,
    /// If true, the server's certificate will not be checked for validity
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    /// Server name to use for server certificate validation
    #[arg(long, global = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Username to impersonate for the operation
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate_user: Option<String>,
    /// Group to impersonate for the operation; can be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub impersonate_groups: Vec<String>,
    /// The length of time to wait before giving up on a single server request (1s, 2m, 3h; 0 = never)
    #[arg(long, global = true, value_name = "DURATION")]
    pub request_timeout: Option<String>,
    /// Number for the log level verbosity; 6 and more print each request
    #[arg(
        long = "v",
        short = 'v',
        global = true,
        default_value_t = 0,
        value_name = "LEVEL"
    )]
    pub verbosity: u8,
    /// Treat warnings received from the server as errors
    #[arg(long, global = true, hide = true)]
    pub warnings_as_errors: bool,
    /// Default cache directory (accepted; nothing is cached)
    #[arg(long, global = true, hide = true)]
    pub cache_dir: Option<String>,
    /// Require server version to match client version (accepted)
    #[arg(long, global = true, hide = true)]
    pub match_server_version: bool,
}

const EXAMPLES: &str = "Examples:
  # What runs, and where
  kubectl get pods --all-namespaces -o wide

  # From a file to running pods, and what became of one of them
  kubectl apply -f app.yaml
  kubectl describe pod app-0

  # The flags and examples of a command
  kubectl help rollout";

/// The whole tree, ready to parse.
pub(crate) fn command() -> Command {
    let root = Command::new("kubectl")
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .subcommand_required(false)
        .subcommands(
            verbs::REGISTRY
                .iter()
                .map(|verb| (verb.command)().name(verb.name)),
        );
    // The flags come with a description of their own, which would stand in place of ours.
    let root = <Globals as clap::Args>::augment_args(root)
        .about("kubectl controls the Kubernetes cluster manager")
        .after_help(EXAMPLES);
    conventions(root)
}

/// Applies the flag conventions to a command and all below it.
fn conventions(command: Command) -> Command {
    command
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .mut_args(|arg| {
            if arg.is_positional() {
                return arg;
            }
            match arg.get_action() {
                ArgAction::SetTrue => switch(arg),
                ArgAction::Set | ArgAction::Append if arg.get_num_args().is_none() => {
                    arg.allow_hyphen_values(true)
                }
                _ => arg,
            }
        })
        .mut_subcommands(conventions)
}

/// A switch that also takes `=true` and `=false`.
fn switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_parser(ValueParser::new(BoolishValueParser::new()))
}

/// The words as the parser knows them: bindings are for users of another kind than the kubeconfig's
/// `--user`, though the flag has the same name.
/// `help VERB` is `VERB --help`.
pub(crate) fn normalise(mut words: Vec<String>) -> Vec<String> {
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.push("--help".to_owned());
    }
    let own_words = words
        .iter()
        .position(|word| word == "--")
        .unwrap_or(words.len());
    let is_binding = words[..own_words]
        .iter()
        .any(|word| matches!(word.as_str(), "rolebinding" | "clusterrolebinding"));
    if is_binding && words.iter().any(|word| word == "create") {
        for word in &mut words[..own_words] {
            if word == "--user" || word.starts_with("--user=") {
                *word = word.replacen("--user", "--subject-user", 1);
            }
        }
    }
    words
}

/// What to do about a command line that clap does not accept; None if help was asked for (and printed).
pub(crate) fn explain(error: &clap::Error, words: &[String]) -> Option<Failure> {
    let path = command_path(words);
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let usage = |text: String| Failure::Exact {
        text: format!("error: {text}\nSee '{path} --help' for usage."),
        code: 1,
    };
    let flag = context(ContextKind::InvalidArg);
    let name = flag.split([' ', '=']).next().unwrap_or_default().to_owned();
    Some(match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return None;
        }
        ErrorKind::UnknownArgument if name.starts_with("--") => {
            usage(format!("unknown flag: {name}"))
        }
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let letter: String = name.chars().skip(1).take(1).collect();
            let given = words
                .iter()
                .find(|word| {
                    word.starts_with('-') && !word.starts_with("--") && word.contains(&letter)
                })
                .cloned()
                .unwrap_or(name);
            usage(format!("unknown shorthand flag: '{letter}' in {given}"))
        }
        ErrorKind::UnknownArgument => unknown_command(&flag, &path),
        ErrorKind::InvalidSubcommand => {
            unknown_command(&context(ContextKind::InvalidSubcommand), &path)
        }
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            let last = words.last().map(String::as_str).unwrap_or_default();
            match last.strip_prefix('-').filter(|rest| rest.len() == 1) {
                Some(letter) => usage(format!("flag needs an argument: '{letter}' in {last}")),
                None => usage(format!("flag needs an argument: {name}")),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = context(ContextKind::InvalidValue);
            let reason = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            usage(format!(
                "invalid argument {} for {} flag: {}",
                quote(&value),
                quote(&name),
                go_reason(&reason, &value)
            ))
        }
        ErrorKind::MissingRequiredArgument => {
            usage(format!("required argument(s) not given: {flag}"))
        }
        ErrorKind::ArgumentConflict => usage(format!(
            "{flag} can not be used together with {}",
            context(ContextKind::PriorArg)
        )),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            usage(first.strip_prefix("error: ").unwrap_or(first).to_owned())
        }
    })
}

fn go_reason(reason: &str, value: &str) -> String {
    if reason.contains("invalid digit") || reason.contains("invalid float") {
        format!("strconv.ParseInt: parsing {}: invalid syntax", quote(value))
    } else if reason.contains("boolean") {
        format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            quote(value)
        )
    } else {
        reason.to_owned()
    }
}

fn unknown_command(given: &str, path: &str) -> Failure {
    if let Some(verb) = path.strip_prefix("kubectl ") {
        let text = if verb == "create" {
            format!("Unexpected args: [{given}]")
        } else {
            format!("unknown command {}", quote(given))
        };
        return Failure::usage(verb, text);
    }
    let mut text = format!(
        "error: unknown command {} for {}",
        quote(given),
        quote(path)
    );
    let near: Vec<&str> = verbs::REGISTRY
        .iter()
        .map(|verb| verb.name)
        .filter(|name| distance(name, given) <= 2 || name.starts_with(given))
        .collect();
    if !near.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        for name in near {
            text.push_str(&format!("\t{name}\n"));
        }
    }
    Failure::Exact {
        text: text.trim_end_matches('\n').to_owned() + if text.ends_with('\n') { "\n" } else { "" },
        code: 1,
    }
}

/// How many edits apart two words are.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// `kubectl create secret`: the longest chain of known commands in the words.
fn command_path(words: &[String]) -> String {
    let mut command = command();
    let mut path = "kubectl".to_owned();
    for word in words.iter().skip(1) {
        if word.starts_with('-') {
            continue;
        }
        let Some(next) = command.find_subcommand(word).cloned() else {
            break;
        };
        path = format!("{path} {}", next.get_name());
        command = next;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_a_word_too() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            normalise(words("kubectl help rollout status")),
            words("kubectl rollout status --help")
        );
        assert_eq!(
            normalise(words("kubectl get help")),
            words("kubectl get help")
        );
        let help = command().render_help().to_string();
        assert!(help.starts_with("kubectl controls the Kubernetes cluster manager"));
        assert!(help.contains("Examples:"));
    }

    fn check(line: &str, expected: &str) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let text = match command().try_get_matches_from(&words) {
            Ok(_) => String::new(),
            Err(error) => explain(&error, &words)
                .map(|failure| failure.render())
                .unwrap_or_default(),
        };
        assert_eq!(text, expected, "{line}");
    }

    #[test]
    fn the_tree_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn flags_as_the_field_writes_them() {
        for line in [
            "kubectl get pods -o=yaml -nfoo --watch=false",
            "kubectl get -ojson pods",
            "kubectl exec -it web -c a -- sh -c x",
            "kubectl logs web --tail -1",
            "kubectl logs web --tail=-1 -f",
            "kubectl delete pod web --grace-period -1 --wait=false",
            "kubectl apply -f x --dry-run=server",
            "kubectl -n a get pods -n b",
            "kubectl create deployment web --image=a -- sleep 5",
            "kubectl label pods web a=b c-",
            "kubectl get pods -v 8 --v=6",
            "kubectl config set-credentials x --token=t",
        ] {
            check(line, "");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(
            "kubectl get pods --foo",
            "error: unknown flag: --foo\nSee 'kubectl get --help' for usage.",
        );
        check(
            "kubectl get pods -zq",
            "error: unknown shorthand flag: 'z' in -zq\nSee 'kubectl get --help' for usage.",
        );
        check(
            "kubectl get pods -n",
            "error: flag needs an argument: 'n' in -n\nSee 'kubectl get --help' for usage.",
        );
        check(
            "kubectl get pods --namespace",
            "error: flag needs an argument: --namespace\nSee 'kubectl get --help' for usage.",
        );
        check(
            "kubectl gte",
            "error: unknown command \"gte\" for \"kubectl\"\n\nDid you mean this?\n\tget\n",
        );
        check(
            "kubectl logs x --tail=many",
            "error: invalid argument \"many\" for \"--tail\" flag: strconv.ParseInt: parsing \"many\": invalid syntax\nSee 'kubectl logs --help' for usage.",
        );
    }
}
