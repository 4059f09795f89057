//! The static token file: `token,user,uid,"group1,group2"` per line.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use super::User;

/// Known tokens.
#[derive(Default)]
pub(crate) struct Tokens(HashMap<String, Arc<User>>);

impl Tokens {
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--token-auth-file {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("--token-auth-file {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut tokens = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields = fields(line);
            let [token, name, uid, ..] = fields.as_slice() else {
                anyhow::bail!(
                    "line {}: wants token,user,uid and perhaps groups",
                    index + 1
                );
            };
            anyhow::ensure!(!token.is_empty(), "line {}: the token is empty", index + 1);
            let groups = fields.get(3).map(String::as_str).unwrap_or("");
            let mut user = User {
                name: name.clone(),
                uid: uid.clone(),
                groups: groups
                    .split(',')
                    .map(str::trim)
                    .filter(|group| !group.is_empty())
                    .map(str::to_owned)
                    .collect(),
                ..Default::default()
            };
            user.add_authenticated();
            tokens.insert(token.clone(), Arc::new(user));
        }
        Ok(Tokens(tokens))
    }

    pub(crate) fn find(&self, token: &str) -> Option<Arc<User>> {
        self.0.get(token).cloned()
    }
}

/// The fields of a CSV line; quotes keep commas together.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields
                .last_mut()
                .expect("there is always a current field")
                .push(character),
        }
    }
    for field in &mut fields {
        *field = field.trim().to_owned();
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_users() {
        let tokens = Tokens::parse("# people\nabc,alice,1,\"dev,ops\"\nxyz,bob,2\n").unwrap();
        let alice = tokens.find("abc").unwrap();
        assert_eq!(alice.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(tokens.find("xyz").unwrap().name, "bob");
        assert!(tokens.find("nope").is_none());
        assert!(Tokens::parse("only-a-token").is_err());
    }
}
