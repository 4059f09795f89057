//! Where in an object one is: a chain of borrowed segments, so that walking an object costs nothing
//! until there is something to report.
//!
//! Invariant: `Display` prints the path as upstream's field errors do (`spec.containers[0].name`,
//! `metadata.labels[app]`).

use std::fmt;

/// One step of a path, linked to the step before it.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    parent: Option<&'a At<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    Root,
    /// A field, and the short name of the type that declares it (empty where nobody asks).
    Field(&'a str, &'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> At<'a> {
    /// The object itself; prints as nothing.
    pub const ROOT: At<'static> = At {
        parent: None,
        segment: Segment::Root,
    };

    /// A path of one field.
    pub const fn root(name: &'a str) -> At<'a> {
        At {
            parent: None,
            segment: Segment::Field("", name),
        }
    }

    pub const fn child(&'a self, name: &'a str) -> At<'a> {
        self.owned("", name)
    }

    /// A field whose declaring type is known, for messages that quote it.
    pub(crate) const fn owned(&'a self, owner: &'a str, name: &'a str) -> At<'a> {
        At {
            parent: Some(self),
            segment: Segment::Field(owner, name),
        }
    }

    pub const fn index(&'a self, index: usize) -> At<'a> {
        At {
            parent: Some(self),
            segment: Segment::Index(index),
        }
    }

    pub const fn key(&'a self, key: &'a str) -> At<'a> {
        At {
            parent: Some(self),
            segment: Segment::Key(key),
        }
    }

    /// The steps from the object to here.
    fn steps(&self) -> Vec<Segment<'a>> {
        let mut steps = Vec::with_capacity(8);
        let mut here = Some(self);
        while let Some(at) = here {
            steps.push(at.segment);
            here = at.parent;
        }
        steps.reverse();
        steps
    }

    /// The path as strict decoding prints it: map keys after a dot.
    pub(crate) fn strict(&self) -> String {
        let mut out = String::new();
        for step in self.steps() {
            match step {
                Segment::Root => {}
                Segment::Field(_, name) | Segment::Key(name) => {
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(name);
                }
                Segment::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        out
    }

    /// `Struct.path.to.field` as the reference's JSON decoder names a place: the innermost type and
    /// the fields only, without indices and keys. `None` at the object itself.
    pub(crate) fn go_field(&self) -> Option<String> {
        let mut owner = None;
        let mut path = String::new();
        for step in self.steps() {
            if let Segment::Field(of, name) = step {
                owner = Some(of);
                path.push('.');
                path.push_str(name);
            }
        }
        owner.map(|owner| format!("{owner}{path}"))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for step in self.steps() {
            match step {
                Segment::Root => continue,
                Segment::Field(_, name) => {
                    if !first {
                        f.write_str(".")?;
                    }
                    f.write_str(name)?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
            }
            first = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::At;

    #[test]
    fn prints_like_upstream() {
        let spec = At::root("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        assert_eq!(first.child("name").to_string(), "spec.containers[0].name");
        let metadata = At::root("metadata");
        let labels = metadata.child("labels");
        assert_eq!(labels.key("a/b").to_string(), "metadata.labels[a/b]");
        assert_eq!(labels.key("a/b").strict(), "metadata.labels.a/b");
    }
}
