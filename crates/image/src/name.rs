//! Image names as container runtimes spell them: `nginx` is `docker.io/library/nginx:latest`.

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name:?} is not an image name: {why}")]
pub struct NameError {
    name: String,
    why: &'static str,
}

/// The full name: registry, repository, and a tag or digest (`latest` when neither is given).
pub fn normalize(name: &str) -> Result<String, NameError> {
    let fail = |why| NameError {
        name: name.to_owned(),
        why,
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(fail("it is empty or contains a space"));
    }
    let (registry, rest) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    };
    let repository = rest.split(['@', ':']).next().unwrap_or_default();
    let valid =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/._-".contains(&byte);
    if repository.is_empty() || !repository.bytes().all(valid) {
        return Err(fail(
            "a repository has lower-case letters, digits and / . _ - only",
        ));
    }
    let tagged = rest.contains('@')
        || rest
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'));
    let suffix = if tagged { "" } else { ":latest" };
    Ok(format!("{registry}/{rest}{suffix}"))
}

/// The first part of a name is a registry's host when it could not be a directory of Docker Hub.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn names() {
        for (given, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.22", "docker.io/library/nginx:1.22"),
            ("team/app", "docker.io/team/app:latest"),
            ("localhost/app:1", "localhost/app:1"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest"),
            ("fluyt.local/pause:1", "fluyt.local/pause:1"),
            ("a/b@sha256:00", "docker.io/a/b@sha256:00"),
        ] {
            assert_eq!(normalize(given).as_deref(), Ok(expected));
        }
        assert!(normalize("").is_err());
        assert!(normalize("Nginx").is_err());
    }
}
