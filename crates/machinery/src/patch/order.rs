//! The order of a merged list: the patch's own items in the patch's order, the others woven in by
//! their order in the live list.
//!
//! Invariant: the result is a permutation of the items; the relative order of the patch's items and
//! that of the others are both kept.

use serde_json::Value;

/// Arranges `items`: those named in `order` follow it, the rest follow `live`.
pub(super) fn arrange<'a, F>(
    items: Vec<Value>,
    id: F,
    order: &'a [Value],
    live: &'a [Value],
) -> Vec<Value>
where
    F: for<'v> Fn(&'v Value) -> &'v Value,
{
    let place = |list: &[Value], item: &Value| list.iter().position(|entry| entry == id(item));
    let (mut named, mut rest): (Vec<Value>, Vec<Value>) = items
        .into_iter()
        .partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    rest.sort_by_key(|item| place(live, item).unwrap_or(usize::MAX));

    let mut result = Vec::with_capacity(named.len() + rest.len());
    let (mut named, mut rest) = (named.into_iter().peekable(), rest.into_iter().peekable());
    loop {
        let rest_first = match (rest.peek(), named.peek()) {
            (None, None) => return result,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(left), Some(right)) => match (place(live, left), place(live, right)) {
                (Some(left), Some(right)) => left < right,
                _ => false,
            },
        };
        let next = if rest_first {
            rest.next()
        } else {
            named.next()
        };
        result.extend(next);
    }
}
