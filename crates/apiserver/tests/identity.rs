//! TLS, client certificates, tokens and what RBAC lets whom do.
#![allow(clippy::unwrap_used)] // tests may fail by panicking

mod support;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fluyt_apiserver::testing::{self, TestServer};
use fluyt_apiserver::{Options, Transport};
use fluyt_pki::{
    CertificateAuthority, Request, Usage, service_account_key, write_private, write_public,
};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use support::{config_map, pod};
use tokio::net::TcpStream;
use tower::Service;

const MASTERS: &str = "system:masters";

/// A server as `fluyt up` starts it, and the authority behind it.
struct Secure {
    server: TestServer,
    authority: CertificateAuthority,
    _directory: tempfile::TempDir,
}

fn issue(
    authority: &CertificateAuthority,
    directory: &Path,
    name: &str,
    groups: &[&str],
    usage: Usage,
) -> (std::path::PathBuf, std::path::PathBuf) {
    let issued = authority
        .issue(&Request {
            common_name: name,
            organizations: groups,
            names: &["localhost".to_owned(), "127.0.0.1".to_owned()],
            usage,
        })
        .unwrap();
    let (certificate, key) = (
        directory.join(format!("{name}.crt")),
        directory.join(format!("{name}.key")),
    );
    write_public(&certificate, &issued.certificate).unwrap();
    write_private(&key, &issued.key).unwrap();
    (certificate, key)
}

async fn secure() -> Secure {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let authority = CertificateAuthority::generate("test").unwrap();
    write_public(&path.join("ca.crt"), authority.certificate()).unwrap();
    let (certificate, key) = issue(&authority, path, "apiserver", &[], Usage::Server);
    service_account_key(path).unwrap();
    let tokens = path.join("tokens");
    std::fs::write(&tokens, "sesame,alice,1,\"staff\"\n").unwrap();
    let server = testing::serve(Options {
        any_secure_port: true,
        bind_address: "127.0.0.1".parse().unwrap(),
        tls_cert_file: Some(certificate),
        tls_private_key_file: Some(key),
        client_ca_file: Some(path.join("ca.crt")),
        service_account_key_file: vec![path.join("sa.pub")],
        service_account_signing_key_file: Some(path.join("sa.key")),
        authorization_mode: vec!["Node".into(), "RBAC".into()],
        token_auth_file: Some(tokens),
        ..testing::options()
    })
    .await;
    Secure {
        server,
        authority,
        _directory: directory,
    }
}

/// Calls over TLS, with a client certificate or a bearer token.
async fn over_tls(
    secure: &Secure,
    identity: Option<(&str, &[&str])>,
    token: Option<&str>,
    path: &str,
) -> (u16, Value) {
    let roots = CertificateDer::pem_slice_iter(secure.authority.certificate().as_bytes());
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((name, groups)) => {
            let directory = tempfile::tempdir().unwrap();
            let (certificate, key) = issue(
                &secure.authority,
                directory.path(),
                name,
                groups,
                Usage::Client,
            );
            let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let address = secure.server.running.secure_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::get(path).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// Calls in process.
async fn call(mut transport: Transport, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response = transport.call(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn admin(secure: &Secure) -> Transport {
    secure.server.running.transport("admin", &[MASTERS])
}

#[track_caller]
fn ok(answer: (u16, Value)) -> Value {
    assert!(answer.0 < 300, "{}: {}", answer.0, answer.1);
    answer.1
}

#[tokio::test]
async fn certificates_and_tokens_say_who_calls() {
    let secure = secure().await;
    let pods = "/api/v1/namespaces/default/pods";
    let (code, _) = over_tls(&secure, Some(("root", &[MASTERS])), None, pods).await;
    assert_eq!(code, 200);
    let (code, status) = over_tls(&secure, Some(("eve", &["staff"])), None, pods).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "pods is forbidden: User \"eve\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let (code, status) = over_tls(&secure, None, Some("sesame"), "/api/v1/nodes/n").await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "nodes \"n\" is forbidden: User \"alice\" cannot get resource \"nodes\" in API group \"\" at the cluster scope"
    );
    let (code, status) = over_tls(&secure, None, Some("wrong"), pods).await;
    assert_eq!((code, &status["reason"]), (401, &json!("Unauthorized")));
    let (code, status) = over_tls(&secure, None, None, "/metrics").await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "forbidden: User \"system:anonymous\" cannot get path \"/metrics\""
    );
    let (code, _) = over_tls(&secure, None, None, "/version").await;
    assert_eq!(code, 200, "anybody may ask for the version");
    secure.server.stop().await;
}

#[tokio::test]
async fn roles_bind_and_unbind() {
    let secure = secure().await;
    let admin = admin(&secure);
    let alice = secure.server.running.transport("alice", &[]);
    let maps = "/api/v1/namespaces/default/configmaps";
    assert_eq!(call(alice.clone(), "GET", maps, &Value::Null).await.0, 403);
    let binding = json!({
        "metadata": {"name": "alice"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    ok(call(admin.clone(), "POST", bindings, &binding).await);
    // The index follows the store's watch.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while call(alice.clone(), "GET", maps, &Value::Null).await.0 != 200 {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert_eq!(
        call(alice.clone(), "POST", maps, &config_map("a")).await.0,
        403
    );
    let other = "/api/v1/namespaces/kube-system/configmaps";
    assert_eq!(call(alice.clone(), "GET", other, &Value::Null).await.0, 403);
    let question = json!({"spec": {"resourceAttributes": {
        "namespace": "default", "verb": "list", "resource": "pods",
    }}});
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = ok(call(alice.clone(), "POST", reviews, &question).await);
    assert_eq!(answer["status"]["allowed"], true);
    ok(call(admin, "DELETE", &format!("{bindings}/alice"), &Value::Null).await);
    while call(alice.clone(), "GET", maps, &Value::Null).await.0 != 403 {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    secure.server.stop().await;
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let secure = secure().await;
    let admin = admin(&secure);
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let bind = |name: &str, role: &str| {
        json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}],
        })
    };
    ok(call(admin, "POST", bindings, &bind("bob", "admin")).await);
    let bob = secure.server.running.transport("bob", &[]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while call(bob.clone(), "GET", bindings, &Value::Null).await.0 != 200 {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    ok(call(bob.clone(), "POST", bindings, &bind("more", "view")).await);
    let (code, status) = call(bob, "POST", bindings, &bind("all", "cluster-admin")).await;
    assert_eq!(code, 403);
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("is attempting to grant RBAC permissions not currently held"),
        "{message}"
    );
    secure.server.stop().await;
}

#[tokio::test]
async fn service_account_tokens_are_bound_to_what_exists() {
    let secure = secure().await;
    let admin = admin(&secure);
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let (code, status) = call(
        admin.clone(),
        "POST",
        "/api/v1/namespaces/default/pods",
        &pod("p"),
    )
    .await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "pods \"p\" is forbidden: error looking up service account default/default: serviceaccount \"default\" not found"
    );
    ok(call(
        admin.clone(),
        "POST",
        accounts,
        &json!({"metadata": {"name": "default"}}),
    )
    .await);
    let made = ok(call(
        admin.clone(),
        "POST",
        "/api/v1/namespaces/default/pods",
        &pod("p"),
    )
    .await);
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    let volume = &made["spec"]["volumes"][0];
    assert!(
        volume["name"]
            .as_str()
            .unwrap()
            .starts_with("kube-api-access-"),
        "{volume}"
    );
    assert_eq!(
        made["spec"]["containers"][0]["volumeMounts"][0]["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    let wanted = json!({"spec": {
        "expirationSeconds": 3607,
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"]},
    }});
    let answer = ok(call(
        admin.clone(),
        "POST",
        &format!("{accounts}/default/token"),
        &wanted,
    )
    .await);
    let token = answer["status"]["token"].as_str().unwrap();
    let (code, status) = over_tls(
        &secure,
        None,
        Some(token),
        "/api/v1/namespaces/default/pods",
    )
    .await;
    assert_eq!(code, 403);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("User \"system:serviceaccount:default:default\" cannot list"),
        "{status}"
    );
    let review = json!({"spec": {"token": token}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = ok(call(admin.clone(), "POST", reviews, &review).await);
    assert_eq!(answer["status"]["authenticated"], true);
    assert_eq!(
        answer["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"],
        json!(["p"])
    );
    ok(call(
        admin.clone(),
        "DELETE",
        "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0",
        &Value::Null,
    )
    .await);
    let (code, _) = over_tls(&secure, None, Some(token), "/api").await;
    assert_eq!(code, 401, "the pod is gone");
    let keys = ok(call(admin, "GET", "/openid/v1/jwks", &Value::Null).await);
    assert_eq!(keys["keys"][0]["kty"], "EC");
    let short = json!({"spec": {"expirationSeconds": 5}});
    let transport = secure.server.running.transport("admin", &[MASTERS]);
    assert_eq!(
        call(
            transport,
            "POST",
            &format!("{accounts}/default/token"),
            &short
        )
        .await
        .0,
        422
    );
    secure.server.stop().await;
}

#[tokio::test]
async fn kubelets_keep_to_their_own_node() {
    let secure = secure().await;
    let admin = admin(&secure);
    let node1 = secure
        .server
        .running
        .transport("system:node:n1", &["system:nodes"]);
    let node = |name: &str| json!({"metadata": {"name": name}});
    let made = ok(call(node1.clone(), "POST", "/api/v1/nodes", &node("n1")).await);
    assert_eq!(
        made["spec"]["taints"][0]["key"],
        "node.kubernetes.io/not-ready"
    );
    let (code, status) = call(node1.clone(), "POST", "/api/v1/nodes", &node("n2")).await;
    assert_eq!(code, 403);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("is not allowed to modify node \"n2\""),
        "{status}"
    );
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["used", "unused"] {
        ok(call(
            admin.clone(),
            "POST",
            secrets,
            &json!({"metadata": {"name": name}}),
        )
        .await);
    }
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    ok(call(
        admin.clone(),
        "POST",
        accounts,
        &json!({"metadata": {"name": "default"}}),
    )
    .await);
    let mut user = pod("user");
    user["spec"]["nodeName"] = "n1".into();
    user["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "used"}}]);
    ok(call(
        admin.clone(),
        "POST",
        "/api/v1/namespaces/default/pods",
        &user,
    )
    .await);
    ok(call(
        node1.clone(),
        "GET",
        &format!("{secrets}/used"),
        &Value::Null,
    )
    .await);
    assert_eq!(
        call(
            node1.clone(),
            "GET",
            &format!("{secrets}/unused"),
            &Value::Null
        )
        .await
        .0,
        403
    );
    assert_eq!(
        call(node1.clone(), "GET", secrets, &Value::Null).await.0,
        403
    );
    let lease = json!({"metadata": {"name": "n1"}, "spec": {}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    ok(call(node1.clone(), "POST", leases, &lease).await);
    let token = format!("{accounts}/default/token");
    let uid = ok(call(
        admin,
        "GET",
        "/api/v1/namespaces/default/pods/user",
        &Value::Null,
    )
    .await);
    let wanted = json!({"spec": {"boundObjectRef": {
        "kind": "Pod", "apiVersion": "v1", "name": "user", "uid": uid["metadata"]["uid"],
    }}});
    ok(call(node1.clone(), "POST", &token, &wanted).await);
    let node2 = secure
        .server
        .running
        .transport("system:node:n2", &["system:nodes"]);
    assert_eq!(call(node2, "POST", &token, &wanted).await.0, 403);
    secure.server.stop().await;
}

#[tokio::test]
async fn impersonation_needs_permission() {
    let secure = secure().await;
    let impersonate = |user: &str, groups: &[&str]| {
        let mut transport = secure.server.running.transport(user, groups);
        async move {
            let request = http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
                .header("content-type", "application/json")
                .header("impersonate-user", "carol")
                .header("impersonate-group", "dev")
                .body(Full::new(Bytes::from("{}")))
                .unwrap();
            let response = transport.call(request).await.unwrap();
            let code = response.status().as_u16();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            (code, serde_json::from_slice::<Value>(&bytes).unwrap())
        }
    };
    let (code, answer) = impersonate("root", &[MASTERS]).await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!(answer["status"]["userInfo"]["username"], "carol");
    assert_eq!(
        answer["status"]["userInfo"]["groups"],
        json!(["dev", "system:authenticated"])
    );
    let (code, answer) = impersonate("eve", &[]).await;
    assert_eq!(code, 403);
    assert_eq!(
        answer["message"],
        "users \"carol\" is forbidden: User \"eve\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    secure.server.stop().await;
}

#[tokio::test]
async fn a_serving_certificate_is_made_when_none_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let server = testing::serve(Options {
        any_secure_port: true,
        bind_address: "127.0.0.1".parse().unwrap(),
        cert_dir: directory.path().to_owned(),
        ..testing::options()
    })
    .await;
    assert!(server.running.secure_addr().is_some());
    assert!(directory.path().join("apiserver.crt").exists());
    server.stop().await;
}
