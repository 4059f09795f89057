//! Generators of what runs: deployments, jobs, cron jobs, disruption budgets.

use super::{CreateFlags, one_name};
use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::rest::Call;
use serde_json::{Value, json};

/// Create a deployment with the specified name
#[derive(clap::Args, Debug)]
pub(super) struct Deployment {
    names: Vec<String>,
    /// Image names to run; a deployment can have several for a multi-container pod
    #[arg(long = "image", value_delimiter = ',')]
    images: Vec<String>,
    /// Number of replicas to create
    #[arg(long, short = 'r', default_value_t = 1)]
    replicas: i32,
    /// The port that this container exposes
    #[arg(long)]
    port: Option<u16>,
    /// The command of the container, after --
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl Deployment {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "deployment")?;
        if self.images.is_empty() {
            return Err(Failure::message("required flag(s) \"image\" not set"));
        }
        if self.images.len() > 1 && !self.command.is_empty() {
            return Err(Failure::message("cannot specify multiple --image options and command"));
        }
        if self.replicas < 0 {
            return Err(Failure::message("replicas must be greater than or equal to 0"));
        }
        let mut containers: Vec<Value> = self
            .images
            .iter()
            .map(|image| json!({"name": container_name(image), "image": image, "resources": {}}))
            .collect();
        if let Some(first) = containers.first_mut() {
            if !self.command.is_empty() {
                first["command"] = json!(self.command);
            }
            if let Some(port) = self.port {
                first["ports"] = json!([{"containerPort": port}]);
            }
        }
        let labels = json!({"app": name});
        Ok(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": labels},
                "strategy": {},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
            },
            "status": {},
        }))
    }
}

/// The last part of an image's name without tag and digest, as a container may be called.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let bare = last.split([':', '@']).next().unwrap_or(last);
    bare.chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '-' })
        .collect()
}

/// Create a job with the specified name
#[derive(clap::Args, Debug)]
pub(super) struct Job {
    names: Vec<String>,
    /// Image name to run
    #[arg(long)]
    image: Option<String>,
    /// The name of the resource to create a Job from (only cronjob is supported)
    #[arg(long)]
    from: Option<String>,
    /// The command of the container, after --
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl Job {
    pub(super) async fn object(&self, context: &Context) -> Result<Value, Failure> {
        let name = one_name(&self.names, "job")?;
        match (&self.image, &self.from) {
            (None, None) => Err(Failure::message("either --image or --from must be specified")),
            (Some(_), Some(_)) => Err(Failure::message("either --image or --from must be specified")),
            (None, Some(_)) if !self.command.is_empty() => {
                Err(Failure::message("cannot specify --from and command"))
            }
            (Some(image), None) => Ok(json!({
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": name},
                "spec": job_spec(name, image, &self.command),
                "status": {},
            })),
            (None, Some(from)) => from_cron_job(context, name, from).await,
        }
    }
}

fn job_spec(name: &str, image: &str, command: &[String]) -> Value {
    let mut container = json!({"name": name, "image": image, "resources": {}});
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    json!({"template": {"metadata": {}, "spec": {"containers": [container], "restartPolicy": "Never"}}})
}

async fn from_cron_job(context: &Context, name: &str, from: &str) -> Result<Value, Failure> {
    let Some(("cronjob" | "cj" | "cronjobs" | "cronjob.batch" | "cronjobs.batch", source)) = from.split_once('/') else {
        return Err(Failure::message(format!(
            "from must be an existing cronjob, as in cronjob/NAME, not {from}"
        )));
    };
    let mapping = context.mapper().well_known("cronjobs");
    let namespace = context.namespace()?;
    let cron_job = context
        .rest()
        .await?
        .json(&Call::get(mapping.path(Some(&namespace), source)))
        .await?;
    let template = cron_job.at("spec.jobTemplate");
    let mut annotations = template.at("metadata.annotations").clone();
    annotations["cronjob.kubernetes.io/instantiate"] = json!("manual");
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "annotations": annotations,
            "labels": template.at("metadata.labels"),
            "ownerReferences": [{
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "name": cron_job.name(),
                "uid": cron_job.text("metadata.uid"),
                "controller": true,
            }],
        },
        "spec": template["spec"],
        "status": {},
    }))
}

/// Create a cron job with the specified name
#[derive(clap::Args, Debug)]
pub(super) struct CronJob {
    names: Vec<String>,
    /// Image name to run
    #[arg(long)]
    image: Option<String>,
    /// A schedule in the Cron format the job should be run with
    #[arg(long)]
    schedule: Option<String>,
    /// Restart policy of the job: OnFailure, Never
    #[arg(long, default_value = "OnFailure")]
    restart: String,
    /// The command of the container, after --
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl CronJob {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "cronjob")?;
        let (Some(image), Some(schedule)) = (&self.image, &self.schedule) else {
            return Err(Failure::message("required flag(s) \"image\", \"schedule\" not set"));
        };
        let mut spec = job_spec(name, image, &self.command);
        spec["template"]["spec"]["restartPolicy"] = json!(self.restart);
        Ok(json!({
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": name},
            "spec": {"jobTemplate": {"metadata": {"name": name}, "spec": spec}, "schedule": schedule},
            "status": {},
        }))
    }
}

/// Create a pod disruption budget with the specified name
#[derive(clap::Args, Debug)]
pub(super) struct DisruptionBudget {
    names: Vec<String>,
    /// A label selector for the pods of the budget; only equality-based requirements
    #[arg(long)]
    selector: Option<String>,
    /// The minimum number or percentage of available pods this budget requires
    #[arg(long)]
    min_available: Option<String>,
    /// The maximum number or percentage of unavailable pods this budget requires
    #[arg(long)]
    max_unavailable: Option<String>,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl DisruptionBudget {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "poddisruptionbudget")?;
        let Some(selector) = self.selector.as_deref().filter(|text| !text.is_empty()) else {
            return Err(Failure::message("a selector must be specified"));
        };
        let mut spec = json!({});
        for part in selector.split(',') {
            let (key, value) = super::pair(part, "selector")?;
            spec["selector"]["matchLabels"][key] = json!(value);
        }
        let amount = |text: &str| text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number));
        match (&self.min_available, &self.max_unavailable) {
            (Some(minimum), None) => spec["minAvailable"] = amount(minimum),
            (None, Some(maximum)) => spec["maxUnavailable"] = amount(maximum),
            (Some(_), Some(_)) => {
                return Err(Failure::message("min-available and max-unavailable cannot be both specified"));
            }
            (None, None) => {
                return Err(Failure::message("one of min-available or max-unavailable must be specified"));
            }
        }
        Ok(json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": spec,
            "status": {},
        }))
    }
}
