//! Between the store's operations and etcd's messages.

use std::sync::Arc;

use bytes::Bytes;

use super::messages::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest,
    Request, RequestOp, Response, ResponseOp, TargetValue,
};
use crate::types::{Durability, Entry, Op, Precondition, Revision, SpliceFn, splice_in};

pub(super) fn put(key: String, value: Bytes, precondition: Precondition) -> Op {
    Op::Put {
        key,
        value,
        precondition,
        durability: Durability::Durable,
    }
}

/// The end of the range of all keys with `prefix`.
pub(super) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if end == [0] {
        return end;
    }
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

pub(super) fn entry_of(kv: KeyValue, splice: SpliceFn) -> Entry {
    let mod_revision = kv.mod_revision as Revision;
    Entry {
        // Keys are ours; one that is not text cannot match anything that is asked for.
        key: Arc::from(String::from_utf8_lossy(&kv.key)),
        value: splice_in(splice, kv.value, mod_revision),
        create_revision: kv.create_revision as Revision,
        mod_revision,
    }
}

pub(super) fn compare(op: &Op) -> Option<Compare> {
    let (result, target, value) = match op.precondition() {
        Precondition::None => return None,
        Precondition::Absent => (
            CompareResult::Equal,
            CompareTarget::Version,
            TargetValue::Version(0),
        ),
        Precondition::Exists => (
            CompareResult::Greater,
            CompareTarget::Version,
            TargetValue::Version(0),
        ),
        Precondition::ModRevision(revision) => {
            let value = TargetValue::ModRevision(revision as i64);
            (CompareResult::Equal, CompareTarget::Mod, value)
        }
    };
    let key = op.key().as_bytes().to_vec();
    Some(Compare {
        result: result as i32,
        target: target as i32,
        key,
        value: Some(value),
    })
}

pub(super) fn operations(op: &Op) -> Vec<RequestOp> {
    let key = op.key().as_bytes().to_vec();
    match op {
        Op::Put {
            value,
            precondition,
            ..
        } => {
            let put = Request::Put(PutRequest {
                key,
                value: value.clone(),
            });
            let mut operations = vec![RequestOp { request: Some(put) }];
            if *precondition != Precondition::Absent {
                // For the revision of its creation, which the answer to a put does not carry.
                operations.push(read(op.key(), true));
            }
            operations
        }
        Op::Delete { .. } => {
            let delete = Request::DeleteRange(DeleteRangeRequest { key, prev_kv: true });
            vec![RequestOp {
                request: Some(delete),
            }]
        }
    }
}

pub(super) fn read(key: &str, keys_only: bool) -> RequestOp {
    let key = key.as_bytes().to_vec();
    let range = RangeRequest {
        key,
        keys_only,
        ..RangeRequest::default()
    };
    RequestOp {
        request: Some(Request::Range(range)),
    }
}

pub(super) fn found(response: Option<ResponseOp>) -> Option<KeyValue> {
    match response?.response? {
        Response::Range(range) => range.kvs.into_iter().next(),
        _ => None,
    }
}

pub(super) fn holds(precondition: Precondition, current: Option<&Entry>) -> bool {
    match precondition {
        Precondition::None => true,
        Precondition::Absent => current.is_none(),
        Precondition::Exists => current.is_some(),
        Precondition::ModRevision(wanted) => {
            current.is_some_and(|entry| entry.mod_revision == wanted)
        }
    }
}
