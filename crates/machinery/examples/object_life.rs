//! Measures one pod's way through the crate: decode, default, prepare, validate, encode.
//!
//! `cargo run --release -p fluyt-machinery --example object_life`

use std::hint::black_box;
use std::time::Instant;

use fluyt_api::catalogue;
use fluyt_machinery::codec::{self, FieldValidation, Gvk, Media};
use fluyt_machinery::{Ctx, defaults, meta, strategy};

/// A pod as a workload controller would make it, about 1.5 KB.
const POD: &str = include_str!("pod.json");
const ROUNDS: u32 = 20_000;

fn main() {
    let pods = catalogue::find("", "v1", "pods").expect("pods are in the catalogue");
    let gvk = Gvk {
        group: "",
        version: "v1",
        kind: "Pod",
    };
    let ctx = Ctx {
        now: jiff::Timestamp::UNIX_EPOCH,
        uid: uuid::Uuid::nil(),
        entropy: 1,
        namespace: "default".to_owned(),
    };
    let rules = strategy::of(pods);
    let decode = || {
        codec::decode(
            POD.as_bytes(),
            Media::Json,
            pods.type_id,
            &gvk,
            FieldValidation::Warn,
        )
        .expect("the sample pod is well-formed")
        .object
    };
    let whole = || {
        let mut pod = decode();
        defaults::apply(pods, &mut pod);
        meta::create_meta(pods, &mut pod, "", &ctx).expect("the sample pod has good metadata");
        rules.prepare_for_create(&mut pod, &ctx);
        assert!(rules.validate(&pod).is_empty(), "the sample pod is valid");
        codec::encode(&pod)
    };
    println!("{} bytes in, {} bytes out", POD.len(), whole().len());
    time("decode", || {
        black_box(decode());
    });
    let decoded = decode();
    time("default", || {
        let mut pod = decoded.clone();
        defaults::apply(pods, &mut pod);
        black_box(pod);
    });
    time("clone", || {
        black_box(decoded.clone());
    });
    let mut pod = decode();
    defaults::apply(pods, &mut pod);
    meta::create_meta(pods, &mut pod, "", &ctx).expect("the sample pod has good metadata");
    rules.prepare_for_create(&mut pod, &ctx);
    time("validate", || {
        black_box(rules.validate(&pod));
    });
    time("encode", || {
        black_box(codec::encode(&pod));
    });
    time("whole", || {
        black_box(whole());
    });
}

fn time(what: &str, mut work: impl FnMut()) {
    for _ in 0..ROUNDS / 10 {
        work();
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    println!(
        "{what:10} {:6.2} µs",
        start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
    );
}
