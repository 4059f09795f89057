//! The volumes of a pod or of a pod template.

use super::writer::Writer;
use crate::object::Object;
use crate::printers::custom_columns::go_value;
use serde_json::Value;

/// A line below `Type:`: its label, the field, and what stands for a missing value.
type Line = (&'static str, &'static str, &'static str);

/// The volume sources that are told by plain fields.
const SOURCES: &[(&str, &str, &[Line])] = &[
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
    let Some((field, title, lines)) = SOURCES
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
        super::parts::labels_indented(
            w,
            "    ",
            "VolumeAttributes",
            &volume["csi"]["volumeAttributes"],
        );
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
