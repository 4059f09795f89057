//! What bodies decode to, and in which words bad ones are refused.

use super::*;
use fluyt_api::catalogue;
use serde_json::json;

fn decode_as(kind: &str, body: &str, media: Media, v: FieldValidation) -> Result<Decoded, Status> {
    let resource = ["", "apps", "rbac.authorization.k8s.io"]
        .iter()
        .find_map(|group| catalogue::find_kind(group, "v1", kind))
        .unwrap();
    let gvk = Gvk {
        group: resource.group,
        version: resource.version,
        kind: resource.kind,
    };
    decode(body.as_bytes(), media, resource.type_id, &gvk, v)
}

fn refused(body: &str, v: FieldValidation) -> String {
    let status = decode_as("Pod", body, Media::Json, v).unwrap_err();
    assert_eq!(status.code, 400, "{status:?}");
    status.message
}

#[test]
fn type_errors_have_upstreams_words() {
    let head = "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal ";
    for (body, want) in [
        (
            r#"{"spec":{"activeDeadlineSeconds":"x"}}"#,
            "string into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
        (
            r#"{"spec":{"containers":[{"ports":[{"containerPort":"80"}]}]}}"#,
            "string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            r#"{"spec":{"containers":[{"env":[{"name":"a","value":1}]}]}}"#,
            "number into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            r#"{"spec":{"containers":{}}}"#,
            "object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            r#"{"spec":"x"}"#,
            "string into Go struct field Pod.spec of type v1.PodSpec",
        ),
        (
            r#"{"spec":{"restartPolicy":1}}"#,
            "number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
        ),
        (
            r#"{"metadata":{"labels":{"a":true}}}"#,
            "bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            r#"{"spec":{"priority":1.5}}"#,
            "number 1.5 into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            r#"{"spec":{"priority":99999999999}}"#,
            "number 99999999999 into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            r#"{"spec":{"hostNetwork":"yes"}}"#,
            "string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
    ] {
        assert_eq!(
            refused(body, FieldValidation::Strict),
            format!("{head}{want}"),
            "{body}"
        );
    }
}

#[test]
fn unknown_and_duplicate_fields() {
    let body = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","Name":"b"},"spec":{"foo":1,"containers":[{"name":"c","bar":{}}],"nodeName":"a","nodeName":"b"}}"#;
    let want = [
        "unknown field \"metadata.Name\"",
        "unknown field \"spec.foo\"",
        "unknown field \"spec.containers[0].bar\"",
        "duplicate field \"spec.nodeName\"",
    ];
    assert_eq!(
        refused(body, FieldValidation::Strict),
        format!(
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: {}",
            want.join(", ")
        )
    );
    let warned = decode_as("Pod", body, Media::Json, FieldValidation::Warn).unwrap();
    assert_eq!(warned.warnings, want);
    assert_eq!(warned.object["spec"]["nodeName"], "b");
    assert!(warned.object["spec"].get("foo").is_none());
    let ignored = decode_as("Pod", body, Media::Json, FieldValidation::Ignore).unwrap();
    assert!(ignored.warnings.is_empty());
    assert_eq!(ignored.object, warned.object);
}

#[test]
fn malformed_bodies() {
    for (body, want) in [
        ("", "unexpected end of JSON input (<empty>)"),
        ("{", "unexpected end of JSON input ({)"),
        (
            "{\"a\":}",
            "invalid character '}' looking for beginning of value ({\"a\":})",
        ),
        (
            "{\"a\" 1}",
            "invalid character '1' after object key ({\"a\" 1})",
        ),
        (
            "{a}",
            "invalid character 'a' looking for beginning of object key string ({a})",
        ),
        ("{} x", "invalid character 'x' after top-level value ({} x)"),
        (
            "{\"a\":tru}",
            "invalid character '}' in literal true (expecting 'e') ({\"a\":tru})",
        ),
        (
            "{\"a\":01}",
            "invalid character '1' after object key:value pair ({\"a\":01})",
        ),
    ] {
        assert_eq!(
            refused(body, FieldValidation::Strict),
            format!(
                "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: {want}"
            ),
        );
    }
    let deep = format!(
        "{{\"metadata\":{{\"managedFields\":[{{\"fieldsV1\":{}1{}}}]}}}}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert!(refused(&deep, FieldValidation::Ignore).contains("exceeded max depth"));
    assert!(
        refused("[]", FieldValidation::Ignore).contains("cannot unmarshal array into Go value")
    );
}

#[test]
fn other_kinds_and_versions() {
    for (body, want) in [
        (
            r#"{"kind":"Service","apiVersion":"v1"}"#,
            "Service in version \"v1\" cannot be handled as a Pod: converting (v1.Service) to (core.Pod): unknown conversion",
        ),
        (
            r#"{"kind":"Foo","apiVersion":"v1"}"#,
            "Foo in version \"v1\" cannot be handled as a Pod: no kind \"Foo\" is registered for version \"v1\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            r#"{"kind":"Pod","apiVersion":"v2"}"#,
            "Pod in version \"v2\" cannot be handled as a Pod: no kind \"Pod\" is registered for version \"v2\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
        ),
    ] {
        assert_eq!(refused(body, FieldValidation::Strict), want);
    }
}

#[test]
fn values_are_canonical() {
    let body = r#"{"metadata":{"name":"a","labels":{},"creationTimestamp":null},
        "spec":{"hostNetwork":false,"nodeName":"","terminationGracePeriodSeconds":0,"enableServiceLinks":false,
        "containers":[{"name":"c","resources":{"limits":{"cpu":"1000m","memory":0.5,"x":"1024Mi"}},"env":[{"name":"A","value":""}]}],
        "overhead":null}}"#;
    let got = decode_as("Pod", body, Media::Json, FieldValidation::Strict).unwrap();
    assert_eq!(
        got.object,
        json!({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},
            "spec":{"terminationGracePeriodSeconds":0,"enableServiceLinks":false,
            "containers":[{"name":"c","env":[{"name":"A"}],"resources":{"limits":{"cpu":"1","memory":"500m","x":"1Gi"}}}]},
            "status":{}})
    );
    let text = encode(&got.object);
    let again = decode_as(
        "Pod",
        std::str::from_utf8(&text).unwrap(),
        Media::Json,
        FieldValidation::Strict,
    )
    .unwrap();
    assert_eq!(again.object, got.object);
}

#[test]
fn always_present_fields() {
    let body = r#"{"status":{"containerStatuses":[{"name":"c"}]}}"#;
    let got = decode_as("Pod", body, Media::Json, FieldValidation::Strict).unwrap();
    assert_eq!(
        got.object["status"]["containerStatuses"][0],
        json!({"name":"c","image":"","imageID":"","lastState":{},"ready":false,"restartCount":0,"state":{}})
    );
    let service = decode_as(
        "Service",
        "{\"spec\":{\"ports\":[{\"port\":80}]}}",
        Media::Json,
        FieldValidation::Strict,
    )
    .unwrap();
    assert_eq!(service.object["status"], json!({"loadBalancer":{}}));
    assert_eq!(service.object["spec"]["ports"][0]["protocol"], "TCP");
}

#[test]
fn yaml_is_read_like_json() {
    let body = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  hostNetwork: yes\n  containers:\n  - name: c\n    image: busybox\n    command: [sh, -c, \"true\"]\n";
    let got = decode_as("Pod", body, Media::Yaml, FieldValidation::Strict).unwrap();
    assert_eq!(got.object["spec"]["hostNetwork"], true);
    assert_eq!(
        got.object["spec"]["containers"][0]["command"],
        json!(["sh", "-c", "true"])
    );
    let twice = "kind: Pod\nmetadata:\n  name: a\n  name: b\n";
    let got = decode_as("Pod", twice, Media::Yaml, FieldValidation::Warn).unwrap();
    assert_eq!(got.object["metadata"]["name"], "b");
    assert_eq!(got.warnings.len(), 1);
    let bad = decode_as("Pod", "a: [", Media::Yaml, FieldValidation::Warn).unwrap_err();
    assert_eq!(bad.code, 400);
}

/// JSON of any shape, with keys that pods have among the others.
fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        Just(json!("100m")),
        Just(json!("2026-01-01T00:00:00Z")),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        let key = prop_oneof![
            Just("metadata".to_owned()),
            Just("spec".to_owned()),
            Just("status".to_owned()),
            Just("containers".to_owned()),
            Just("name".to_owned()),
            Just("labels".to_owned()),
            Just("resources".to_owned()),
            Just("limits".to_owned()),
            Just("creationTimestamp".to_owned()),
            "[a-z]{1,3}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let text = String::from_utf8_lossy(&body);
        for media in [Media::Json, Media::Yaml] {
            let _ = decode_as("Pod", &text, media, FieldValidation::Warn);
        }
    }

    #[test]
    fn whatever_is_accepted_is_canonical(value in any_json()) {
        let text = value.to_string();
        for kind in ["Pod", "Deployment", "ConfigMap", "Service"] {
            let Ok(first) = decode_as(kind, &text, Media::Json, FieldValidation::Ignore) else {
                continue;
            };
            let encoded = encode(&first.object);
            let text = std::str::from_utf8(&encoded).unwrap();
            let again = decode_as(kind, text, Media::Json, FieldValidation::Strict).unwrap();
            let mut kept = first.object;
            if let Some(metadata) = kept.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("resourceVersion");
            }
            proptest::prop_assert_eq!(again.object, kept);
        }
    }
}

#[test]
fn every_kind_decodes_from_nothing() {
    for resource in catalogue::resources() {
        let gvk = Gvk {
            group: resource.group,
            version: resource.version,
            kind: resource.kind,
        };
        let read = |body: &[u8]| {
            decode(
                body,
                Media::Json,
                resource.type_id,
                &gvk,
                FieldValidation::Strict,
            )
            .unwrap()
        };
        let empty = read(b"{}");
        let encoded = encode(&empty.object);
        let again = read(&encoded);
        let mut with_metadata = empty.object.clone();
        if with_metadata.get("metadata").is_none() {
            with_metadata["metadata"] = json!({});
        }
        let mut again = again.object;
        if again.get("metadata").is_none() {
            again["metadata"] = json!({});
        }
        assert_eq!(again, with_metadata, "{}", resource.group_resource());
    }
}
