//! The volumes of a pod or of a pod template.

use super::writer::Writer;
use crate::object::Object;
use crate::printers::custom_columns::go_value;
use serde_json::Value;

/// A line below `Type:`: its label, the field, and what stands for a missing value.
type Line = (&'static str, &'static str, &'static str);

/// Its field, its title and its lines.
type Source = (&'static str, &'static str, &'static [Line]);

/// The sources that only persistent volumes have, or tell more of.
const PERSISTENT: &[Source] = &[
    (
        "csi",
        "CSI (a Container Storage Interface (CSI) volume source)",
        &[
            ("Driver", "driver", ""),
            ("FSType", "fsType", ""),
            ("VolumeHandle", "volumeHandle", ""),
            ("ReadOnly", "readOnly", "false"),
        ],
    ),
    (
        "local",
        "LocalVolume (a persistent volume backed by local storage on a node)",
        &[("Path", "path", "")],
    ),
];

/// The volume sources that are told by plain fields.
const SOURCES: &[Source] = &[
    (
        "hostPath",
        "HostPath (bare host directory volume)",
        &[("Path", "path", ""), ("HostPathType", "type", "<none>")],
    ),
    (
        "emptyDir",
        "EmptyDir (a temporary directory that shares a pod's lifetime)",
        &[
            ("Medium", "medium", ""),
            ("SizeLimit", "sizeLimit", "<unset>"),
        ],
    ),
    (
        "secret",
        "Secret (a volume populated by a Secret)",
        &[
            ("SecretName", "secretName", ""),
            ("Optional", "optional", "false"),
        ],
    ),
    (
        "configMap",
        "ConfigMap (a volume populated by a ConfigMap)",
        &[("Name", "name", ""), ("Optional", "optional", "false")],
    ),
    (
        "nfs",
        "NFS (an NFS mount that lasts the lifetime of a pod)",
        &[
            ("Server", "server", ""),
            ("Path", "path", ""),
            ("ReadOnly", "readOnly", "false"),
        ],
    ),
    (
        "persistentVolumeClaim",
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        &[
            ("ClaimName", "claimName", ""),
            ("ReadOnly", "readOnly", "false"),
        ],
    ),
    (
        "csi",
        "CSI (a Container Storage Interface (CSI) volume source)",
        &[
            ("Driver", "driver", ""),
            ("FSType", "fsType", ""),
            ("ReadOnly", "readOnly", "false"),
        ],
    ),
    (
        "image",
        "Image (a container image or OCI artifact)",
        &[
            ("Reference", "reference", ""),
            ("PullPolicy", "pullPolicy", ""),
        ],
    ),
    (
        "ephemeral",
        "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
        &[],
    ),
];

pub(crate) fn describe(w: &mut Writer, volumes: &[Value], space: &str) {
    if volumes.is_empty() {
        return w.field(0, &format!("{space}Volumes"), "<none>");
    }
    w.line(0, format!("{space}Volumes:"));
    let indent = if space.is_empty() { "" } else { " " };
    for volume in volumes {
        w.line(1, format!("{indent}{}:", volume.text("name")));
        source(w, volume);
    }
}

fn source(w: &mut Writer, volume: &Value) {
    if volume["projected"].is_object() {
        return projected(w, &volume["projected"]);
    }
    if volume["downwardAPI"].is_object() {
        return downward(w, &volume["downwardAPI"]);
    }
    from_table(w, volume, SOURCES);
}

/// The source in the spec of a persistent volume.
pub(crate) fn persistent(w: &mut Writer, spec: &Value) {
    let is_own = PERSISTENT
        .iter()
        .any(|(field, ..)| spec[*field].is_object());
    from_table(w, spec, if is_own { PERSISTENT } else { SOURCES });
}

fn from_table(w: &mut Writer, volume: &Value, sources: &[Source]) {
    let Some((field, title, lines)) = sources
        .iter()
        .find(|(field, ..)| volume[*field].is_object())
    else {
        return w.line(1, "<unknown>");
    };
    w.field(2, "Type", title);
    for (label, name, missing) in *lines {
        let value = &volume[*field][*name];
        let text = match value {
            Value::Null => (*missing).to_owned(),
            value => go_value(value),
        };
        w.field(2, label, text);
    }
    if *field == "csi" {
        attributes(w, &volume["csi"]["volumeAttributes"]);
    }
}

/// Further lines, and the attributes themselves, are indented once more, as Kubernetes does.
fn attributes(w: &mut Writer, map: &Value) {
    let pairs = super::parts::map_pairs(map);
    if pairs.is_empty() {
        return w.field(2, "VolumeAttributes", "<none>");
    }
    for (index, (key, value)) in pairs.iter().enumerate() {
        match index {
            0 => w.part(2, "VolumeAttributes:\t"),
            _ => w.part(4, "\t"),
        }
        w.line(2, format!("{key}={value}"));
    }
}

fn projected(w: &mut Writer, projected: &Value) {
    w.field(
        2,
        "Type",
        "Projected (a volume that contains injected data from multiple sources)",
    );
    for source in projected.list("sources") {
        let optional = |source: &Value| source["optional"] == true;
        if source["secret"].is_object() {
            w.field(2, "SecretName", source.text("secret.name"));
            w.field(2, "Optional", optional(&source["secret"]));
        } else if source["downwardAPI"].is_object() {
            w.field(2, "DownwardAPI", "true");
        } else if source["configMap"].is_object() {
            w.field(2, "ConfigMapName", source.text("configMap.name"));
            w.field(2, "Optional", optional(&source["configMap"]));
        } else if source["serviceAccountToken"].is_object() {
            w.field(
                2,
                "TokenExpirationSeconds",
                source.number("serviceAccountToken.expirationSeconds"),
            );
        }
    }
}

fn downward(w: &mut Writer, downward: &Value) {
    w.field(
        2,
        "Type",
        "DownwardAPI (a volume populated by information about the pod)",
    );
    w.line(2, "Items:");
    for item in downward.list("items") {
        let path = item.text("path");
        if item["fieldRef"].is_object() {
            w.line(3, format!("{} -> {path}", item.text("fieldRef.fieldPath")));
        }
        if item["resourceFieldRef"].is_object() {
            w.line(
                3,
                format!("{} -> {path}", item.text("resourceFieldRef.resource")),
            );
        }
    }
}
