//! The schema of every API type: its fields, their types, and how lists and patches treat them.
//!
//! The tables are generated from the published OpenAPI documents and protobuf definitions and
//! hold facts only. Types refer to each other by [`TypeId`], their place in the table; the
//! table is sorted by name and fields are sorted by their JSON name, so lookups are binary
//! searches over statics.
//!
//! ```
//! use fluyt_api::schema;
//! let pod = schema::by_name("io.k8s.api.core.v1.Pod").expect("pods exist");
//! let spec = schema::get(pod).field("spec").expect("pods have a spec");
//! assert!(matches!(spec.ty, schema::Ty::Ref(_)));
//! ```

mod table;

/// The place of a type in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u16);

/// A group, version and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gvk {
    /// The group; empty for the core group.
    pub group: &'static str,
    /// The version, `v1` for instance.
    pub version: &'static str,
    /// The kind, `Pod` for instance.
    pub kind: &'static str,
}

/// One type of the API.
#[derive(Debug)]
pub struct Type {
    /// The OpenAPI name, `io.k8s.api.core.v1.Pod` for instance.
    pub name: &'static str,
    /// The fields, sorted by JSON name.
    pub fields: &'static [Field],
    /// The kinds this type is the body of; empty for types that are only parts.
    pub gvks: &'static [Gvk],
    /// Holds JSON of any shape: unknown fields are kept.
    pub open: bool,
    /// `x-kubernetes-map-type: atomic`: server-side apply owns the value as a whole.
    pub atomic: bool,
    /// `x-kubernetes-unions` as JSON text.
    pub unions: Option<&'static str>,
    /// How JSON writes a value of this type.
    pub json: AnyOf,
}

/// The JSON forms a type may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyOf {
    /// A JSON object.
    Object,
    /// A string in RFC 3339 form.
    DateTime,
    /// A quantity: a string, or a bare number.
    StringOrNumber,
    /// A port or percentage: an integer or a string.
    IntegerOrString,
    /// Any JSON.
    Anything,
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// The JSON name.
    pub name: &'static str,
    /// The type of the value.
    pub ty: Ty,
    /// The published schema lists the field as required.
    pub required: bool,
    /// The published default as JSON text. `""`, `0`, `false` and `{}` are often no default in
    /// the sense of behaviour: the publisher states the zero value of a Go field that is always
    /// written.
    pub default: Option<&'static str>,
    /// How server-side apply treats a list.
    pub list: ListType,
    /// A map that server-side apply owns as a whole.
    pub map_atomic: bool,
    /// A map whose entries server-side apply owns one by one, which is stated though it is the
    /// rule.
    pub map_granular: bool,
    /// The key by which a strategic merge patch pairs list items.
    pub merge_key: Option<&'static str>,
    /// A strategic merge patch merges the list instead of replacing it.
    pub patch_merge: bool,
    /// A strategic merge patch with `$retainKeys` drops the keys it does not name.
    pub patch_retain_keys: bool,
    /// A strategic merge patch replaces the object instead of merging it.
    pub patch_replace: bool,
    /// The protobuf field number; 0 when the message has no such field.
    pub proto: u32,
    /// The numbers of the embedded messages around the field that JSON flattens, outermost first.
    pub proto_in: &'static [u32],
    /// A scalar that Go holds by pointer: on the protobuf wire it is there exactly when it is set. Any other scalar is always
    /// written, and its zero means that it is not set.
    pub pointer: bool,
}

/// How server-side apply treats a list: `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Not stated; such lists are atomic.
    None,
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items paired by these keys.
    Map(&'static [&'static str]),
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    /// A JSON string.
    String,
    /// A JSON integer of 32 bits.
    Int32,
    /// A JSON integer of 64 bits.
    Int64,
    /// A JSON boolean.
    Bool,
    /// A JSON number.
    Double,
    /// Base64 in a JSON string.
    Bytes,
    /// A resource quantity, `100m` for instance.
    Quantity,
    /// An integer or a string.
    IntOrString,
    /// A time in whole seconds, or null.
    Time,
    /// A time in microseconds, or null.
    MicroTime,
    /// Any JSON; the type says which of the free-form types it is.
    Any(TypeId),
    /// An object of another type.
    Ref(TypeId),
    /// A JSON array.
    List(&'static Ty),
    /// A JSON object whose keys are data.
    Map(&'static Ty),
}

/// The type at `id`.
///
/// Panics when `id` was not made by this module.
pub fn get(id: TypeId) -> &'static Type {
    &table::TYPES[usize::from(id.0)]
}

/// The type of a given OpenAPI name.
pub fn by_name(name: &str) -> Option<TypeId> {
    let place = table::TYPES.binary_search_by(|ty| ty.name.cmp(name)).ok()?;
    u16::try_from(place).ok().map(TypeId)
}

/// All types in the order of their names, which is the order of their [`TypeId`].
pub fn types() -> &'static [Type] {
    &table::TYPES
}

impl Type {
    /// The field of a given JSON name.
    pub fn field(&self, json: &str) -> Option<&'static Field> {
        let place = self
            .fields
            .binary_search_by(|field| field.name.cmp(json))
            .ok()?;
        Some(&self.fields[place])
    }
}

/// Builders for the generated table, which would be six times as long without them.
impl Field {
    const fn new(name: &'static str, ty: Ty) -> Self {
        Self {
            name,
            ty,
            required: false,
            default: None,
            list: ListType::None,
            map_atomic: false,
            map_granular: false,
            merge_key: None,
            patch_merge: false,
            patch_retain_keys: false,
            patch_replace: false,
            proto: 0,
            proto_in: &[],
            pointer: false,
        }
    }
    const fn pointer(mut self) -> Self {
        self.pointer = true;
        self
    }
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }
    const fn default(mut self, json: &'static str) -> Self {
        self.default = Some(json);
        self
    }
    const fn atomic(mut self) -> Self {
        self.list = ListType::Atomic;
        self
    }
    const fn set(mut self) -> Self {
        self.list = ListType::Set;
        self
    }
    const fn keyed(mut self, keys: &'static [&'static str]) -> Self {
        self.list = ListType::Map(keys);
        self
    }
    const fn atomic_map(mut self) -> Self {
        self.map_atomic = true;
        self
    }
    const fn granular_map(mut self) -> Self {
        self.map_granular = true;
        self
    }
    const fn merge_key(mut self, key: &'static str) -> Self {
        self.merge_key = Some(key);
        self
    }
    const fn patch_merge(mut self) -> Self {
        self.patch_merge = true;
        self
    }
    const fn patch_retain_keys(mut self) -> Self {
        self.patch_retain_keys = true;
        self
    }
    const fn patch_replace(mut self) -> Self {
        self.patch_replace = true;
        self
    }
    const fn proto(mut self, number: u32) -> Self {
        self.proto = number;
        self
    }
    const fn inside(mut self, outer: &'static [u32]) -> Self {
        self.proto_in = outer;
        self
    }
}

#[cfg(test)]
mod tests;
