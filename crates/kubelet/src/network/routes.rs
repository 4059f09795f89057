//! Routes to the pods of other nodes, by netlink. Those that this kubelet set and that no
//! longer hold are removed; all other routes of the machine are left alone.

use futures::TryStreamExt;
use parking_lot::Mutex;
use rtnetlink::{Handle, RouteMessageBuilder};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Networks of other nodes' pods, each behind a node's address.
pub(crate) type Routes = BTreeMap<String, IpAddr>;

/// Makes these routes; `applied` is what was set, so that it can be taken back.
pub(crate) async fn apply(applied: &Mutex<Routes>, wanted: Routes) {
    let before = applied.lock().clone();
    if before == wanted {
        return;
    }
    let Ok((connection, handle, _)) = rtnetlink::new_connection() else {
        tracing::warn!("cannot open netlink: other nodes' pods will not be reached");
        return;
    };
    let driver = tokio::spawn(connection);
    for (cidr, via) in &before {
        if wanted.get(cidr) != Some(via)
            && let Err(error) = remove(&handle, cidr).await
        {
            tracing::debug!(cidr, error, "cannot remove the route");
        }
    }
    for (cidr, via) in &wanted {
        match add(&handle, cidr, *via).await {
            Ok(()) => tracing::debug!(cidr, %via, "route to another node's pods"),
            Err(error) => {
                tracing::warn!(cidr, %via, error, "cannot set the route to another node's pods")
            }
        }
    }
    driver.abort();
    *applied.lock() = wanted;
}

fn parse(cidr: &str) -> Result<(Ipv4Addr, u8), String> {
    let parsed = cidr
        .split_once('/')
        .and_then(|(address, length)| Some((address.parse().ok()?, length.parse().ok()?)));
    parsed.ok_or_else(|| format!("{cidr:?} is not an IPv4 network"))
}

async fn add(handle: &Handle, cidr: &str, via: IpAddr) -> Result<(), String> {
    let (address, length) = parse(cidr)?;
    let IpAddr::V4(via) = via else {
        return Err("only IPv4 is routed".to_owned());
    };
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, length)
        .gateway(via)
        .build();
    handle
        .route()
        .add(route)
        .replace()
        .execute()
        .await
        .map_err(|error| error.to_string())
}

async fn remove(handle: &Handle, cidr: &str) -> Result<(), String> {
    let (address, length) = parse(cidr)?;
    let wanted = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, length)
        .build();
    let mut routes = handle
        .route()
        .get(RouteMessageBuilder::<Ipv4Addr>::new().build())
        .execute();
    while let Some(route) = routes.try_next().await.map_err(|error| error.to_string())? {
        let same = route.header.destination_prefix_length == length
            && wanted
                .attributes
                .iter()
                .all(|attribute| route.attributes.contains(attribute));
        if same {
            return handle
                .route()
                .del(route)
                .execute()
                .await
                .map_err(|error| error.to_string());
        }
    }
    Ok(())
}
