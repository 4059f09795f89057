//! CEL selectors over devices: compiled once, and asked once about each device.
//!
//! The environment is upstream's for `resource.k8s.io`: `device.driver`, `device.attributes["domain"].name`,
//! `device.capacity["domain"].name`, the libraries for quantities and semantic versions, and `cel.bind`. An unknown domain is an
//! empty map. Invariant: an answer is kept under the serial of the slice it was given about, so it can never be about another device.

use std::any::Any;
use std::collections::HashMap as Entries;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::common::ast::{ComprehensionExpr, Expr, ListExpr, LiteralValue};
use cel::common::traits::{Container, Indexer};
use cel::common::types::{CelBool, CelInt, CelMap, CelMapKey, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::parser::Macro;
use cel::{Context, Env, ExecutionError, Program, Value};
use fluyt_api::quantity::Quantity;
use hashbrown::HashMap;

use super::objects::{Attribute, Device};
use super::versions::{self, Semver};
use crate::objects::Text;

/// Answers kept at most; beyond, all are forgotten.
const ANSWERS: usize = 1 << 20;

/// One device: the serial of its slice, and its place in it.
pub(super) type DeviceKey = (u64, u32);

type Answer = Result<bool, Text>;

#[derive(Default)]
pub(super) struct Expressions {
    programs: HashMap<Text, Result<Program, Text>>,
    answers: Mutex<HashMap<DeviceKey, HashMap<Text, Answer>>>,
}

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(environment()));

impl Expressions {
    /// Compiles an expression unless it is known. The error is the compiler's.
    pub fn compile(&mut self, source: &Text) -> Result<(), Text> {
        if !self.programs.contains_key(source) {
            let program = ENVIRONMENT.compile(source);
            let program =
                program.map_err(|why| compact_str::format_compact!("compilation failed: {why}"));
            self.programs.insert(source.clone(), program);
        }
        match self.programs.get(source) {
            Some(Err(why)) => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// Whether the device satisfies an expression that was compiled. The error is the evaluation's.
    pub fn matches(&self, source: &Text, key: DeviceKey, driver: &str, device: &Device) -> Answer {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() > ANSWERS {
            answers.clear();
        }
        let known = answers.entry(key).or_default();
        if let Some(answer) = known.get(source) {
            return answer.clone();
        }
        let answer = match self.programs.get(source) {
            Some(Ok(program)) => evaluate(program, driver, device),
            Some(Err(why)) => Err(why.clone()),
            None => Err("expression was not compiled".into()),
        };
        known.insert(source.clone(), answer.clone());
        answer
    }

    /// The slice with this serial is gone.
    pub fn forget(&mut self, serial: u64) {
        let answers = self.answers.get_mut();
        let answers = answers.unwrap_or_else(PoisonError::into_inner);
        answers.retain(|(of, _), _| *of != serial);
    }
}

fn evaluate(program: &Program, driver: &str, device: &Device) -> Answer {
    let variable = variable(driver, device)?;
    let mut context = Context::with_env(ENVIRONMENT.clone());
    context.add_variable_as_val("device", Box::new(variable));
    match program.execute(&context) {
        Ok(Value::Bool(matches)) => Ok(matches),
        Ok(other) => Err(compact_str::format_compact!(
            "CEL result of type {} could not be converted to bool",
            other.type_of()
        )),
        Err(why) => Err(compact_str::format_compact!("{why}")),
    }
}

fn variable(driver: &str, device: &Device) -> Result<CelMap<'static>, Text> {
    let mut attributes = Domains::default();
    for (name, attribute) in &device.attributes {
        let value = value_of(attribute)
            .map_err(|why| compact_str::format_compact!("attribute {name}: {why}"))?;
        attributes.insert(driver, name, value);
    }
    let mut capacity = Domains::default();
    for (name, amount) in &device.capacity {
        capacity.insert(driver, name, Box::new(CelQuantity(amount.value.clone())));
    }
    let multiple = device.allow_multiple_allocations.unwrap_or(false);
    let mut fields: Entries<CelMapKey<'static>, Box<dyn Val>> = Entries::new();
    fields.insert(key("driver"), Box::new(CelString::from(driver.to_owned())));
    fields.insert(
        key("allowMultipleAllocations"),
        Box::new(CelBool::from(multiple)),
    );
    fields.insert(key("attributes"), Box::new(attributes));
    fields.insert(key("capacity"), Box::new(capacity));
    Ok(CelMap::from(fields))
}

fn key(name: &str) -> CelMapKey<'static> {
    CelMapKey::String(CelString::from(name.to_owned()))
}

fn value_of(attribute: &Attribute) -> Result<Box<dyn Val>, Text> {
    Ok(match attribute {
        Attribute {
            int: Some(value), ..
        } => Box::new(CelInt::from(*value)),
        Attribute {
            bool: Some(value), ..
        } => Box::new(CelBool::from(*value)),
        Attribute {
            string: Some(value),
            ..
        } => Box::new(CelString::from(value.to_string())),
        Attribute {
            version: Some(value),
            ..
        } => {
            let version = versions::parse(value)
                .map_err(|why| compact_str::format_compact!("parse semantic version: {why}"))?;
            Box::new(CelSemver(version))
        }
        _ => return Err("unsupported attribute value".into()),
    })
}

/// Names by domain; a domain that is not there is empty.
#[derive(Clone, Debug, Default)]
struct Domains(Entries<String, CelMap<'static>>);

static EMPTY: LazyLock<CelMap<'static>> = LazyLock::new(CelMap::default);

impl Domains {
    fn insert(&mut self, driver: &str, name: &str, value: Box<dyn Val>) {
        let (domain, name) = name.split_once('/').unwrap_or((driver, name));
        let before = self.0.remove(domain).unwrap_or_default();
        let mut inner = before.into_inner();
        inner.insert(key(name), value);
        self.0.insert(domain.to_owned(), CelMap::from(inner));
    }

    fn find(&self, domain: &dyn Val) -> Option<&CelMap<'static>> {
        let domain = domain.downcast_ref::<CelString<'_>>()?;
        self.0.get(domain.inner())
    }
}

impl Val for Domains {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Domains {}

impl Container for Domains {
    /// As upstream, whose map has every domain.
    fn contains(&self, _domain: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(true)
    }
}

impl Indexer for Domains {
    fn get<'b, 'v>(&'b self, domain: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(match self.find(domain) {
            Some(found) => CowVal::Borrowed(found),
            None => CowVal::Borrowed(&*EMPTY),
        })
    }

    fn steal<'v>(self: Box<Self>, domain: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(Box::new(self.find(domain).cloned().unwrap_or_default()))
    }
}

macro_rules! plain_value {
    ($name:ident, $inner:ty, $type:ident, $text:literal) => {
        static $type: Type = Type::new_unspecified_type($text);

        #[derive(Clone, Debug)]
        struct $name($inner);

        impl Val for $name {
            fn get_type(&self) -> &Type {
                <Self as Val>::cel_type()
            }

            fn cel_type() -> &'static Type {
                &$type
            }

            fn equals(&self, other: &dyn Val) -> bool {
                other
                    .downcast_ref::<Self>()
                    .is_some_and(|other| self.0 == other.0)
            }

            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
                Box::new(self.clone())
            }

            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }

        impl StaticVal for $name {}
    };
}

plain_value!(CelQuantity, Quantity, QUANTITY, "kubernetes.Quantity");
plain_value!(CelSemver, Semver, SEMVER, "kubernetes.Semver");

fn environment() -> Env {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings)
        .and_then(|()| env.add_extension(quantities))
        .and_then(|()| env.add_extension(semvers))
        .and_then(|()| env.add_macro(Macro::receiver("bind", 3, bind)))
        .expect("the names of the libraries are not taken in the standard environment");
    env
}

type Failed = ExecutionError;

fn quantity(text: &CelString<'_>) -> Result<CelQuantity, Failed> {
    Quantity::parse(text.inner())
        .map(CelQuantity)
        .map_err(|why| Failed::function_error("quantity", why))
}

fn is_quantity(text: &CelString<'_>) -> CelBool {
    Quantity::parse(text.inner()).is_ok().into()
}

fn order(order: std::cmp::Ordering) -> CelInt {
    CelInt::from(order as i64)
}

fn quantity_compare(a: &CelQuantity, b: &CelQuantity) -> CelInt {
    order(a.0.cmp(&b.0))
}

fn quantity_greater(a: &CelQuantity, b: &CelQuantity) -> CelBool {
    (a.0 > b.0).into()
}

fn quantity_less(a: &CelQuantity, b: &CelQuantity) -> CelBool {
    (a.0 < b.0).into()
}

fn quantity_add(a: &CelQuantity, b: &CelQuantity) -> CelQuantity {
    CelQuantity(a.0.add(&b.0))
}

fn quantity_add_int(a: &CelQuantity, b: &CelInt) -> CelQuantity {
    CelQuantity(a.0.add(&Quantity::new(*b.inner(), a.0.format())))
}

fn quantity_sub(a: &CelQuantity, b: &CelQuantity) -> CelQuantity {
    CelQuantity(a.0.sub(&b.0))
}

fn quantity_sub_int(a: &CelQuantity, b: &CelInt) -> CelQuantity {
    CelQuantity(a.0.sub(&Quantity::new(*b.inner(), a.0.format())))
}

fn quantity_sign(a: &CelQuantity) -> CelInt {
    order(a.0.cmp(&Quantity::default()))
}

fn is_whole(a: &Quantity) -> bool {
    Quantity::new(a.value(), a.format()) == *a
}

fn quantity_is_integer(a: &CelQuantity) -> CelBool {
    is_whole(&a.0).into()
}

fn quantity_as_integer(a: &CelQuantity) -> Result<CelInt, Failed> {
    match is_whole(&a.0) {
        true => Ok(CelInt::from(a.0.value())),
        false => Err(Failed::function_error(
            "asInteger",
            "cannot convert value to integer",
        )),
    }
}

fn quantity_as_float(a: &CelQuantity) -> cel::common::types::CelDouble {
    a.0.as_f64().into()
}

/// Upstream's quantity library.
fn quantities(env: &mut Env) -> Result<(), cel::DeclarationError> {
    use cel::common::types::CelDouble;
    use cel::{add_member_overload, add_overload};
    add_overload!(env, fn quantity: (CelString) -> Result<CelQuantity>)?;
    add_overload!(env, fn is_quantity: (CelString) -> CelBool)?;
    add_member_overload!(env, fn quantity_compare: (CelQuantity, CelQuantity) -> CelInt, name = "compareTo")?;
    add_member_overload!(env, fn quantity_greater: (CelQuantity, CelQuantity) -> CelBool, name = "isGreaterThan")?;
    add_member_overload!(env, fn quantity_less: (CelQuantity, CelQuantity) -> CelBool, name = "isLessThan")?;
    add_member_overload!(env, fn quantity_add: (CelQuantity, CelQuantity) -> CelQuantity, name = "add")?;
    add_member_overload!(env, fn quantity_add_int: (CelQuantity, CelInt) -> CelQuantity, name = "add")?;
    add_member_overload!(env, fn quantity_sub: (CelQuantity, CelQuantity) -> CelQuantity, name = "sub")?;
    add_member_overload!(env, fn quantity_sub_int: (CelQuantity, CelInt) -> CelQuantity, name = "sub")?;
    add_member_overload!(env, fn quantity_sign: (CelQuantity) -> CelInt, name = "sign")?;
    add_member_overload!(env, fn quantity_is_integer: (CelQuantity) -> CelBool, name = "isInteger")?;
    add_member_overload!(env, fn quantity_as_integer: (CelQuantity) -> Result<CelInt>, name = "asInteger")?;
    add_member_overload!(env, fn quantity_as_float: (CelQuantity) -> CelDouble, name = "asApproximateFloat")
}

fn semver(text: &CelString<'_>) -> Result<CelSemver, Failed> {
    versions::parse(text.inner())
        .map(CelSemver)
        .map_err(|why| Failed::function_error("semver", why))
}

fn is_semver(text: &CelString<'_>) -> CelBool {
    versions::parse(text.inner()).is_ok().into()
}

fn semver_compare(a: &CelSemver, b: &CelSemver) -> CelInt {
    order(a.0.cmp(&b.0))
}

fn semver_greater(a: &CelSemver, b: &CelSemver) -> CelBool {
    (a.0 > b.0).into()
}

fn semver_less(a: &CelSemver, b: &CelSemver) -> CelBool {
    (a.0 < b.0).into()
}

fn part(number: u64) -> CelInt {
    CelInt::from(i64::try_from(number).unwrap_or(i64::MAX))
}

fn semver_major(a: &CelSemver) -> CelInt {
    part(a.0.major)
}

fn semver_minor(a: &CelSemver) -> CelInt {
    part(a.0.minor)
}

fn semver_patch(a: &CelSemver) -> CelInt {
    part(a.0.patch)
}

/// Upstream's library for semantic versions.
fn semvers(env: &mut Env) -> Result<(), cel::DeclarationError> {
    use cel::{add_member_overload, add_overload};
    add_overload!(env, fn semver: (CelString) -> Result<CelSemver>)?;
    add_overload!(env, fn is_semver: (CelString) -> CelBool)?;
    add_member_overload!(env, fn semver_compare: (CelSemver, CelSemver) -> CelInt, name = "compareTo")?;
    add_member_overload!(env, fn semver_greater: (CelSemver, CelSemver) -> CelBool, name = "isGreaterThan")?;
    add_member_overload!(env, fn semver_less: (CelSemver, CelSemver) -> CelBool, name = "isLessThan")?;
    add_member_overload!(env, fn semver_major: (CelSemver) -> CelInt, name = "major")?;
    add_member_overload!(env, fn semver_minor: (CelSemver) -> CelInt, name = "minor")?;
    add_member_overload!(env, fn semver_patch: (CelSemver) -> CelInt, name = "patch")
}

/// `cel.bind(name, value, expression)`: the expression with a name for the value.
fn bind(
    helper: &mut cel::parser::MacroExprHelper<'_>,
    target: &mut Option<cel::IdedExpr>,
    arguments: &mut Vec<cel::IdedExpr>,
) -> Result<Option<cel::IdedExpr>, cel::ParseError> {
    let on_cel = target
        .as_ref()
        .is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == "cel"));
    let name = match arguments.first().map(|first| &first.expr) {
        Some(Expr::Ident(name)) if on_cel => name.clone(),
        _ => return Ok(None),
    };
    let (Some(result), Some(value)) = (arguments.pop(), arguments.pop()) else {
        return Ok(None);
    };
    let comprehension = ComprehensionExpr {
        iter_range: helper.next_expr(Expr::List(ListExpr::new(Vec::new()))),
        iter_var: "#unused".to_owned(),
        iter_var2: None,
        accu_var: name.clone(),
        accu_init: value,
        loop_cond: helper.next_expr(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: helper.next_expr(Expr::Ident(name)),
        result,
    };
    let expression = Expr::Comprehension(Box::new(comprehension));
    Ok(Some(helper.next_expr(expression)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(source: &str) -> Answer {
        let device: Device = serde_json::from_value(json!({
            "name": "gpu-0",
            "attributes": {"model": {"string": "a100"}, "slots": {"int": 4}, "ecc": {"bool": true},
                           "other.example.com/version": {"version": "1.10.0-rc.1"}},
            "capacity": {"memory": {"value": "40Gi"}},
        }))
        .unwrap();
        let mut expressions = Expressions::default();
        let source = Text::from(source);
        expressions.compile(&source)?;
        expressions.matches(&source, (1, 0), "gpu.example.com", &device)
    }

    #[test]
    fn selectors_see_driver_attributes_and_capacity() {
        for source in [
            "device.driver == 'gpu.example.com'",
            "device.attributes['gpu.example.com'].model == 'a100'",
            "device.attributes['gpu.example.com'].model.startsWith('a') && device.attributes['gpu.example.com'].ecc",
            "device.attributes['gpu.example.com'].slots > 3",
            "device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) == 0",
            "device.capacity['gpu.example.com'].memory.isGreaterThan(quantity('1Gi'))",
            "device.capacity['gpu.example.com'].memory.sub(quantity('39Gi')).asInteger() == 1073741824",
            "device.attributes['other.example.com'].version.isLessThan(semver('1.10.0'))",
            "device.attributes['other.example.com'].version.minor() == 10",
            "semver('1.9.0').compareTo(semver('1.10.0')) == -1 && isSemver('1.2.3') && !isSemver('1.2')",
            "!('model' in device.attributes['nowhere.example.com'])",
            "cel.bind(a, device.attributes['gpu.example.com'], a.model == 'a100' && a.slots == 4)",
            "has(device.attributes['gpu.example.com'].model)",
            "'a100'.matches('^a[0-9]+$')",
        ] {
            assert_eq!(answer(source), Ok(true), "{source}");
        }
        assert_eq!(
            answer("device.attributes['gpu.example.com'].slots > 4"),
            Ok(false)
        );
    }

    #[test]
    fn what_cannot_be_compiled_or_evaluated_is_an_error() {
        assert!(answer("device.").is_err());
        assert!(answer("device.attributes['gpu.example.com'].missing == 1").is_err());
        assert!(answer("device.attributes['gpu.example.com'].slots").is_err());
    }
}
