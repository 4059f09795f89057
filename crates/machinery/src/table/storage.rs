//! Volumes, claims, classes and drivers.

use serde_json::{Value, json};

use super::view::View;
use super::{AGE, NAME, Printer, boolean, integer, name_format, text, wide};

pub(super) static PRINTERS: &[Printer] = &[
    Printer {
        group: "",
        kind: "PersistentVolume",
        columns: &[
            NAME,
            text("Capacity"),
            text("Access Modes"),
            text("Reclaim Policy"),
            text("Status"),
            text("Claim"),
            text("StorageClass"),
            text("VolumeAttributesClass"),
            text("Reason"),
            AGE,
            wide("VolumeMode"),
        ],
        cells: volume,
    },
    Printer {
        group: "",
        kind: "PersistentVolumeClaim",
        columns: &[
            NAME,
            text("Status"),
            text("Volume"),
            text("Capacity"),
            text("Access Modes"),
            text("StorageClass"),
            text("VolumeAttributesClass"),
            AGE,
            wide("VolumeMode"),
        ],
        cells: claim,
    },
    Printer {
        group: "storage.k8s.io",
        kind: "StorageClass",
        columns: &[
            NAME,
            text("Provisioner"),
            text("ReclaimPolicy"),
            text("VolumeBindingMode"),
            text("AllowVolumeExpansion"),
            AGE,
        ],
        cells: class,
    },
    Printer {
        group: "storage.k8s.io",
        kind: "VolumeAttributesClass",
        columns: &[NAME, text("DriverName"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text("driverName")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "storage.k8s.io",
        kind: "VolumeAttachment",
        columns: &[
            NAME,
            name_format(text("Attacher")),
            text("PV"),
            text("Node"),
            boolean("Attached"),
            AGE,
        ],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text("spec.attacher")),
                json!(object.text("spec.source.persistentVolumeName")),
                json!(object.text("spec.nodeName")),
                json!(object.boolean("status.attached")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "storage.k8s.io",
        kind: "CSINode",
        columns: &[NAME, integer("Drivers"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.count("spec.drivers")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "storage.k8s.io",
        kind: "CSIDriver",
        columns: &[
            NAME,
            boolean("AttachRequired"),
            boolean("PodInfoOnMount"),
            boolean("StorageCapacity"),
            text("TokenRequests"),
            boolean("RequiresRepublish"),
            text("Modes"),
            AGE,
        ],
        cells: driver,
    },
];

/// Access modes in their short forms, each once, in upstream's order.
fn access_modes(object: &View<'_>, path: &str) -> String {
    const SHORT: &[(&str, &str)] = &[
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let modes = object.texts(path);
    let short: Vec<_> = SHORT
        .iter()
        .filter(|(mode, _)| modes.contains(mode))
        .map(|(_, short)| *short)
        .collect();
    short.join(",")
}

/// The class an object names: the annotation of old before the field.
fn class_of<'a>(object: &View<'a>) -> &'a str {
    match object.entry(
        "metadata.annotations",
        "volume.beta.kubernetes.io/storage-class",
    ) {
        "" => object.text("spec.storageClassName"),
        class => class,
    }
}

fn phase<'a>(object: &View<'a>) -> &'a str {
    if object.is_deleted() {
        "Terminating"
    } else {
        object.text("status.phase")
    }
}

fn or_unset<'a>(object: &View<'a>, path: &str) -> &'a str {
    object.get(path).as_str().unwrap_or("<unset>")
}

fn volume(object: &View<'_>) -> Vec<Value> {
    let claim = object.part("spec.claimRef");
    let claim = if object.has("spec.claimRef") {
        format!("{}/{}", claim.text("namespace"), claim.text("name"))
    } else {
        String::new()
    };
    vec![
        json!(object.name()),
        json!(object.quantity("spec.capacity.storage")),
        json!(access_modes(object, "spec.accessModes")),
        json!(object.text("spec.persistentVolumeReclaimPolicy")),
        json!(phase(object)),
        json!(claim),
        json!(class_of(object)),
        json!(or_unset(object, "spec.volumeAttributesClassName")),
        json!(object.text("status.reason")),
        json!(object.age()),
        json!(or_unset(object, "spec.volumeMode")),
    ]
}

fn claim(object: &View<'_>) -> Vec<Value> {
    let volume = object.text("spec.volumeName");
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        (
            object.quantity("status.capacity.storage"),
            access_modes(object, "status.accessModes"),
        )
    };
    vec![
        json!(object.name()),
        json!(phase(object)),
        json!(volume),
        json!(capacity),
        json!(modes),
        json!(class_of(object)),
        json!(or_unset(object, "spec.volumeAttributesClassName")),
        json!(object.age()),
        json!(or_unset(object, "spec.volumeMode")),
    ]
}

fn class(object: &View<'_>) -> Vec<Value> {
    let marked = |key: &str| object.entry("metadata.annotations", key) == "true";
    let default = marked("storageclass.kubernetes.io/is-default-class")
        || marked("storageclass.beta.kubernetes.io/is-default-class");
    vec![
        json!(format!(
            "{}{}",
            object.name(),
            if default { " (default)" } else { "" }
        )),
        json!(object.text("provisioner")),
        json!(object.get("reclaimPolicy").as_str().unwrap_or("Delete")),
        json!(
            object
                .get("volumeBindingMode")
                .as_str()
                .unwrap_or("Immediate")
        ),
        json!(object.boolean("allowVolumeExpansion")),
        json!(object.age()),
    ]
}

fn driver(object: &View<'_>) -> Vec<Value> {
    let modes = object.texts("spec.volumeLifecycleModes").join(",");
    let tokens = if object.has("spec.tokenRequests") {
        let audiences: Vec<_> = object
            .list("spec.tokenRequests")
            .map(|request| request.text("audience"))
            .collect();
        audiences.join(",")
    } else {
        "<unset>".to_owned()
    };
    vec![
        json!(object.name()),
        json!(object.get("spec.attachRequired").as_bool().unwrap_or(true)),
        json!(object.boolean("spec.podInfoOnMount")),
        json!(object.boolean("spec.storageCapacity")),
        json!(tokens),
        json!(object.boolean("spec.requiresRepublish")),
        json!(if modes.is_empty() { "<none>" } else { &modes }),
        json!(object.age()),
    ]
}
