//! Kubernetes' protobuf form, read by the schema tables: `k8s\0`, an envelope (runtime.Unknown) that names the type, the message.
//!
//! Messages become the JSON that their sender would have sent, so that everything after this step knows one form only. A scalar
//! that Go does not hold by pointer is written even when it is not set; its zero is left out again here.
//! Source: apimachinery's runtime/serializer/protobuf and the field numbers of the published .proto files.

use base64::Engine;
use fluyt_api::schema::{self, Field, Ty, Type, TypeId};
use prost::encoding::{WireType, decode_key, decode_varint};
use serde_json::{Map, Value};

/// What every protobuf body starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages; JSONSchemaProps nest, and bodies come from outside.
const DEPTH: usize = 64;

/// An envelope's content.
pub struct Unknown<'a> {
    pub api_version: String,
    pub kind: String,
    raw: &'a [u8],
}

type Wire<T> = Result<T, String>;

/// Opens the envelope.
pub fn envelope(body: &[u8]) -> Wire<Unknown<'_>> {
    let rest = body.strip_prefix(MAGIC).ok_or(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
    )?;
    let mut unknown = Unknown {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
    };
    for part in Parts(rest) {
        match part? {
            (1, Part::Bytes(meta)) => {
                for part in Parts(meta) {
                    match part? {
                        (1, Part::Bytes(text)) => unknown.api_version = string(text)?,
                        (2, Part::Bytes(text)) => unknown.kind = string(text)?,
                        _ => {}
                    }
                }
            }
            (2, Part::Bytes(raw)) => unknown.raw = raw,
            _ => {}
        }
    }
    Ok(unknown)
}

impl Unknown<'_> {
    /// The content as an object of `ty`, apiVersion and kind included.
    pub fn object(&self, ty: TypeId) -> Wire<Value> {
        let mut object = message(self.raw, schema::get(ty), DEPTH)?;
        for (name, value) in [("apiVersion", &self.api_version), ("kind", &self.kind)] {
            if !value.is_empty() {
                object.insert(name.to_owned(), Value::String(value.clone()));
            }
        }
        Ok(Value::Object(object))
    }
}

/// One field as it stands on the wire.
#[derive(Clone, Copy)]
enum Part<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order on the wire.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = Wire<(u32, Part<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.0 = &[];
        }
        Some(part)
    }
}

impl<'a> Parts<'a> {
    fn part(&mut self) -> Wire<(u32, Part<'a>)> {
        let (number, wire) = decode_key(&mut self.0).map_err(|error| error.to_string())?;
        let part = match wire {
            WireType::Varint => Part::Varint(self.varint()?),
            WireType::SixtyFourBit => Part::Fixed64(u64::from_le_bytes(self.array()?)),
            WireType::ThirtyTwoBit => Part::Fixed32(u32::from_le_bytes(self.array()?)),
            WireType::LengthDelimited => {
                let length =
                    usize::try_from(self.varint()?).map_err(|_| "a length is too large")?;
                Part::Bytes(self.take(length)?)
            }
            WireType::StartGroup | WireType::EndGroup => {
                return Err("groups are not supported".into());
            }
        };
        Ok((number, part))
    }

    fn varint(&mut self) -> Wire<u64> {
        decode_varint(&mut self.0).map_err(|error| error.to_string())
    }

    fn take(&mut self, length: usize) -> Wire<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("unexpected EOF")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Wire<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "unexpected EOF".to_owned())
    }
}

fn string(bytes: &[u8]) -> Wire<String> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| "a string is not UTF-8".to_owned())
}

fn message(bytes: &[u8], ty: &'static Type, depth: usize) -> Wire<Map<String, Value>> {
    let mut out = Map::new();
    flattened(bytes, ty, &mut Vec::new(), &mut out, depth)?;
    Ok(out)
}

/// Reads the fields of `ty` that lie inside the embedded messages `path`, which JSON flattens.
fn flattened(
    bytes: &[u8],
    ty: &'static Type,
    path: &mut Vec<u32>,
    out: &mut Map<String, Value>,
    depth: usize,
) -> Wire<()> {
    if depth == 0 {
        return Err("the message is nested too deeply".into());
    }
    for part in Parts(bytes) {
        let (number, part) = part?;
        let direct = |field: &&Field| field.proto == number && field.proto_in == path.as_slice();
        if let Some(field) = ty.fields.iter().find(direct) {
            take_field(field, part, out, depth)
                .map_err(|why| format!("{}.{}: {why}", ty.name, field.name))?;
            continue;
        }
        path.push(number);
        let embedded = ty
            .fields
            .iter()
            .any(|field| field.proto_in.starts_with(path));
        if let (true, Part::Bytes(inner)) = (embedded, part) {
            flattened(inner, ty, path, out, depth - 1)?;
        }
        path.pop();
    }
    Ok(())
}

fn take_field(
    field: &Field,
    part: Part<'_>,
    out: &mut Map<String, Value>,
    depth: usize,
) -> Wire<()> {
    match field.ty {
        Ty::List(item) => {
            let list = out
                .entry(field.name)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                take_items(item, part, list, depth)?;
            }
        }
        Ty::Map(item) => {
            let (key, value) = map_entry(item, part, depth)?;
            let map = out
                .entry(field.name)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = map {
                map.insert(key, value);
            }
        }
        ref ty => {
            let value = single(ty, part, depth)?;
            if field.pointer || !is_unset(ty, &value) {
                out.insert(field.name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// Repeated fields stand one by one; numbers may also be packed.
fn take_items(item: &'static Ty, part: Part<'_>, list: &mut Vec<Value>, depth: usize) -> Wire<()> {
    if let (Ty::Int32 | Ty::Int64, Part::Bytes(packed)) = (item, part) {
        let mut packed = Parts(packed);
        while !packed.0.is_empty() {
            list.push(single(item, Part::Varint(packed.varint()?), depth)?);
        }
        return Ok(());
    }
    list.push(single(item, part, depth)?);
    Ok(())
}

fn map_entry(item: &'static Ty, part: Part<'_>, depth: usize) -> Wire<(String, Value)> {
    let Part::Bytes(entry) = part else {
        return Err("a map entry is not a message".into());
    };
    let (mut key, mut value) = (String::new(), None);
    for part in Parts(entry) {
        match part? {
            (1, Part::Bytes(text)) => key = string(text)?,
            (2, part) => value = Some(single(item, part, depth)?),
            _ => {}
        }
    }
    let value = match value {
        Some(value) => value,
        None => single(item, Part::Bytes(&[]), depth)?,
    };
    Ok((key, value))
}

/// Values that an absent field would have; objects are never unset, as their presence means something (`emptyDir: {}`).
fn is_unset(ty: &Ty, value: &Value) -> bool {
    match (ty, value) {
        (_, Value::Null) => true,
        (_, Value::String(text)) => text.is_empty(),
        (Ty::Double | Ty::Int32 | Ty::Int64 | Ty::IntOrString, Value::Number(number)) => {
            number.as_f64() == Some(0.0)
        }
        (_, Value::Bool(yes)) => !yes,
        _ => false,
    }
}

fn single(ty: &Ty, part: Part<'_>, depth: usize) -> Wire<Value> {
    Ok(match (ty, part) {
        (Ty::String, Part::Bytes(bytes)) => Value::String(string(bytes)?),
        // A 32-bit number is written sign-extended to 64 bits; the cast undoes both forms.
        (Ty::Int32, Part::Varint(number)) => Value::from(number as i32),
        (Ty::Int64, Part::Varint(number)) => Value::from(number.cast_signed()),
        (Ty::Bool, Part::Varint(number)) => Value::Bool(number != 0),
        (Ty::Double, Part::Fixed64(bits)) => Value::from(f64::from_bits(bits)),
        (Ty::Double, Part::Fixed32(bits)) => Value::from(f32::from_bits(bits)),
        (Ty::Bytes, Part::Bytes(bytes)) => {
            Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        (Ty::Quantity, Part::Bytes(bytes)) => Value::String(first_string(bytes)?),
        (Ty::IntOrString, Part::Bytes(bytes)) => int_or_string(bytes)?,
        (Ty::Time, Part::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ")?,
        (Ty::MicroTime, Part::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
        (Ty::Any(id), Part::Bytes(bytes)) => free_form(*id, bytes, depth)?,
        (Ty::Ref(id), Part::Bytes(bytes)) => {
            Value::Object(message(bytes, schema::get(*id), depth - 1)?)
        }
        // A list as the value of a map or list is a message of its own with the items as its first field.
        (Ty::List(item), Part::Bytes(bytes)) => {
            let mut list = Vec::new();
            for part in Parts(bytes) {
                if let (1, part) = part? {
                    take_items(item, part, &mut list, depth)?;
                }
            }
            Value::Array(list)
        }
        (Ty::Map(item), Part::Bytes(bytes)) => {
            let mut map = Map::new();
            for part in Parts(bytes) {
                if let (1, part) = part? {
                    map.extend([map_entry(item, part, depth)?]);
                }
            }
            Value::Object(map)
        }
        // An entry that leaves its value out means the zero.
        (Ty::Int32 | Ty::Int64, Part::Bytes([])) => Value::from(0),
        (Ty::Bool, Part::Bytes([])) => Value::Bool(false),
        _ => return Err("wrong wire type".into()),
    })
}

/// resource.Quantity: one string.
fn first_string(bytes: &[u8]) -> Wire<String> {
    for part in Parts(bytes) {
        if let (1, Part::Bytes(text)) = part? {
            return string(text);
        }
    }
    Ok("0".to_owned())
}

/// intstr.IntOrString: which, the number, the string.
fn int_or_string(bytes: &[u8]) -> Wire<Value> {
    let (mut is_string, mut number, mut text) = (false, 0, String::new());
    for part in Parts(bytes) {
        match part? {
            (1, Part::Varint(kind)) => is_string = kind == 1,
            (2, Part::Varint(value)) => number = value as i32,
            (3, Part::Bytes(value)) => text = string(value)?,
            _ => {}
        }
    }
    Ok(match is_string {
        true => Value::String(text),
        false => Value::from(number),
    })
}

/// metav1.Time: seconds and nanoseconds of the epoch; an empty message is no time.
fn time(bytes: &[u8], format: &str) -> Wire<Value> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (0, 0);
    for part in Parts(bytes) {
        match part? {
            (1, Part::Varint(value)) => seconds = value.cast_signed(),
            (2, Part::Varint(value)) => nanoseconds = value as i32,
            _ => {}
        }
    }
    let at = jiff::Timestamp::new(seconds, nanoseconds).map_err(|error| error.to_string())?;
    Ok(Value::String(at.strftime(format).to_string()))
}

/// RawExtension, FieldsV1 and JSON hold JSON text in their first field; the unions of JSON schemas have fields of their own.
fn free_form(id: TypeId, bytes: &[u8], depth: usize) -> Wire<Value> {
    let name = schema::get(id).name;
    let Some((prefix, union)) = name.split_once("JSONSchemaPropsOr") else {
        return raw_json(bytes);
    };
    let inner = schema::by_name(&format!("{prefix}JSONSchemaProps"))
        .map(schema::get)
        .ok_or("there is no type JSONSchemaProps")?;
    let (mut allows, mut one, mut many) = (false, None, Vec::new());
    for part in Parts(bytes) {
        match (union, part?) {
            ("Bool", (1, Part::Varint(value))) => allows = value != 0,
            ("Bool", (2, Part::Bytes(value))) | (_, (1, Part::Bytes(value))) => {
                one = Some(Value::Object(message(value, inner, depth - 1)?));
            }
            ("StringArray", (2, Part::Bytes(value))) => many.push(Value::String(string(value)?)),
            (_, (2, Part::Bytes(value))) => {
                many.push(Value::Object(message(value, inner, depth - 1)?));
            }
            _ => {}
        }
    }
    Ok(match (one, union) {
        (Some(one), _) => one,
        (None, "Bool") => Value::Bool(allows),
        (None, _) => Value::Array(many),
    })
}

fn raw_json(bytes: &[u8]) -> Wire<Value> {
    for part in Parts(bytes) {
        if let (1, Part::Bytes(raw)) = part?
            && !raw.is_empty()
        {
            return serde_json::from_slice(raw).map_err(|error| error.to_string());
        }
    }
    Ok(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use serde_json::json;

    /// Messages of the published definitions, as far as the tests need them, so that an independent encoder makes the bytes.
    mod wire {
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct TypeMeta {
            #[prost(string, optional, tag = "1")]
            pub api_version: Option<String>,
            #[prost(string, optional, tag = "2")]
            pub kind: Option<String>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Unknown {
            #[prost(message, optional, tag = "1")]
            pub type_meta: Option<TypeMeta>,
            #[prost(bytes = "vec", optional, tag = "2")]
            pub raw: Option<Vec<u8>>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Time {
            #[prost(int64, optional, tag = "1")]
            pub seconds: Option<i64>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct ObjectMeta {
            #[prost(string, optional, tag = "1")]
            pub name: Option<String>,
            #[prost(string, optional, tag = "2")]
            pub generate_name: Option<String>,
            #[prost(int64, optional, tag = "7")]
            pub generation: Option<i64>,
            #[prost(message, optional, tag = "8")]
            pub creation_timestamp: Option<Time>,
            #[prost(map = "string, string", tag = "11")]
            pub labels: std::collections::HashMap<String, String>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Quantity {
            #[prost(string, optional, tag = "1")]
            pub string: Option<String>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Resources {
            #[prost(map = "string, message", tag = "2")]
            pub requests: std::collections::HashMap<String, Quantity>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Container {
            #[prost(string, optional, tag = "1")]
            pub name: Option<String>,
            #[prost(string, repeated, tag = "4")]
            pub args: Vec<String>,
            #[prost(message, optional, tag = "8")]
            pub resources: Option<Resources>,
            #[prost(bool, optional, tag = "16")]
            pub stdin: Option<bool>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct EmptyDir {
            #[prost(string, optional, tag = "1")]
            pub medium: Option<String>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct VolumeSource {
            #[prost(message, optional, tag = "2")]
            pub empty_dir: Option<EmptyDir>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Volume {
            #[prost(string, optional, tag = "1")]
            pub name: Option<String>,
            #[prost(message, optional, tag = "2")]
            pub source: Option<VolumeSource>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct PodSpec {
            #[prost(message, repeated, tag = "1")]
            pub volumes: Vec<Volume>,
            #[prost(message, repeated, tag = "2")]
            pub containers: Vec<Container>,
            #[prost(int64, optional, tag = "4")]
            pub termination_grace_period_seconds: Option<i64>,
            #[prost(string, optional, tag = "10")]
            pub node_name: Option<String>,
            #[prost(bool, optional, tag = "21")]
            pub automount_token: Option<bool>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Pod {
            #[prost(message, optional, tag = "1")]
            pub metadata: Option<ObjectMeta>,
            #[prost(message, optional, tag = "2")]
            pub spec: Option<PodSpec>,
        }
    }

    fn enveloped(kind: &str, message: &impl Message) -> Vec<u8> {
        let unknown = wire::Unknown {
            type_meta: Some(wire::TypeMeta {
                api_version: Some("v1".into()),
                kind: Some(kind.into()),
            }),
            raw: Some(message.encode_to_vec()),
        };
        [MAGIC, &unknown.encode_to_vec()].concat()
    }

    fn pod() -> wire::Pod {
        wire::Pod {
            metadata: Some(wire::ObjectMeta {
                name: Some("p".into()),
                generate_name: Some(String::new()),
                generation: Some(0),
                creation_timestamp: Some(wire::Time::default()),
                labels: [("a".to_owned(), "b".to_owned())].into(),
            }),
            spec: Some(wire::PodSpec {
                volumes: vec![wire::Volume {
                    name: Some("scratch".into()),
                    source: Some(wire::VolumeSource {
                        empty_dir: Some(wire::EmptyDir {
                            medium: Some(String::new()),
                        }),
                    }),
                }],
                containers: vec![wire::Container {
                    name: Some("c".into()),
                    args: vec!["".into(), "x".into()],
                    resources: Some(wire::Resources {
                        requests: [(
                            "cpu".to_owned(),
                            wire::Quantity {
                                string: Some("100m".into()),
                            },
                        )]
                        .into(),
                    }),
                    stdin: Some(false),
                }],
                termination_grace_period_seconds: Some(0),
                node_name: Some(String::new()),
                automount_token: Some(false),
            }),
        }
    }

    #[test]
    fn a_pod_as_a_stock_client_sends_it() {
        let body = enveloped("Pod", &pod());
        let unknown = envelope(&body).unwrap();
        let ty = schema::by_name("io.k8s.api.core.v1.Pod").unwrap();
        assert_eq!(
            unknown.object(ty).unwrap(),
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "p", "labels": {"a": "b"}},
                "spec": {
                    "volumes": [{"name": "scratch", "emptyDir": {}}],
                    "containers": [{"name": "c", "args": ["", "x"], "resources": {"requests": {"cpu": "100m"}}}],
                    // Pointers: zero is a value.
                    "terminationGracePeriodSeconds": 0,
                    "automountServiceAccountToken": false,
                },
            })
        );
    }

    #[test]
    fn what_is_cut_or_foreign_is_refused_without_a_panic() {
        let body = enveloped("Pod", &pod());
        let ty = schema::by_name("io.k8s.api.core.v1.Pod").unwrap();
        let content = body.len() - pod().encoded_len();
        for end in 0..body.len() {
            let outcome = envelope(&body[..end]).and_then(|unknown| unknown.object(ty));
            assert!(end < content || outcome.is_err(), "cut at {end}");
        }
        assert!(envelope(b"{}").is_err());
        assert!(envelope(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        let any: Vec<u8> = (0..=255).cycle().take(4096).collect();
        let _ = Unknown {
            api_version: String::new(),
            kind: String::new(),
            raw: &any,
        }
        .object(ty);
    }
}
