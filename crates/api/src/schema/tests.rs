//! What the rest of the code relies on in the generated schema table.

use super::*;

fn field(ty: &str, name: &str) -> &'static Field {
    get(by_name(ty).unwrap()).field(name).unwrap()
}

#[test]
fn types_and_fields_are_sorted_for_lookup() {
    assert!(types().is_sorted_by(|a, b| a.name < b.name));
    for ty in types() {
        assert!(
            ty.fields.is_sorted_by(|a, b| a.name < b.name),
            "{}",
            ty.name
        );
    }
}

#[test]
fn every_reference_points_into_the_table() {
    fn check(ty: &Ty) {
        match ty {
            Ty::Ref(id) | Ty::Any(id) => assert!(usize::from(id.0) < types().len()),
            Ty::List(inner) | Ty::Map(inner) => check(inner),
            _ => {}
        }
    }
    types()
        .iter()
        .flat_map(|ty| ty.fields)
        .for_each(|field| check(&field.ty));
}

#[test]
fn lists_patches_and_defaults_are_known() {
    let containers = field("io.k8s.api.core.v1.PodSpec", "containers");
    assert_eq!(containers.list, ListType::Map(&["name"]));
    assert_eq!(containers.merge_key, Some("name"));
    assert!(containers.required && containers.patch_merge && !containers.patch_retain_keys);
    let volumes = field("io.k8s.api.core.v1.PodSpec", "volumes");
    assert!(volumes.patch_merge && volumes.patch_retain_keys);
    let ports = field("io.k8s.api.core.v1.Container", "ports");
    assert_eq!(ports.list, ListType::Map(&["containerPort", "protocol"]));
    let protocol = field("io.k8s.api.core.v1.ContainerPort", "protocol");
    assert_eq!(protocol.default, Some("\"TCP\""));
}

#[test]
fn special_types_have_their_own_case() {
    assert_eq!(
        field(
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
            "creationTimestamp"
        )
        .ty,
        Ty::Time
    );
    assert_eq!(
        field("io.k8s.api.coordination.v1.LeaseSpec", "renewTime").ty,
        Ty::MicroTime
    );
    assert_eq!(
        field("io.k8s.api.core.v1.ResourceRequirements", "limits").ty,
        Ty::Map(&Ty::Quantity)
    );
    assert_eq!(
        field("io.k8s.api.core.v1.HTTPGetAction", "port").ty,
        Ty::IntOrString
    );
    assert!(matches!(
        field("io.k8s.api.apps.v1.ControllerRevision", "data").ty,
        Ty::Any(_)
    ));
}

#[test]
fn protobuf_numbers_reach_through_embedded_messages() {
    let name = field("io.k8s.api.core.v1.Volume", "name");
    assert_eq!((name.proto, name.proto_in), (1, &[][..]));
    let host_path = field("io.k8s.api.core.v1.Volume", "hostPath");
    assert_eq!((host_path.proto, host_path.proto_in), (1, &[2][..]));
    let scope = field(
        "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
        "scope",
    );
    assert_eq!((scope.proto, scope.proto_in), (4, &[2, 2][..]));
    assert_eq!(field("io.k8s.api.core.v1.Pod", "kind").proto, 0);
}

#[test]
fn only_type_meta_is_absent_from_protobuf() {
    for ty in types()
        .iter()
        .filter(|ty| !ty.name.ends_with("version.Info"))
    {
        for field in ty.fields.iter().filter(|field| field.proto == 0) {
            assert!(
                matches!(field.name, "kind" | "apiVersion"),
                "{} {}",
                ty.name,
                field.name
            );
        }
    }
}
