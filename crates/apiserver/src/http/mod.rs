//! What requests and responses look like: the path grammar, queries, content negotiation, bodies. Nothing here
//! knows the store.

pub(crate) mod accept;
pub(crate) mod body;
pub(crate) mod info;
pub(crate) mod query;
pub(crate) mod respond;
