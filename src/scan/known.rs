//! The values of one bottle that are searched for.

use std::fmt;

use super::filter::{Entry, Filter};
use super::finding::Kind;
use super::rules;
use super::value::{Value, Way};

/// The values of one bottle that are searched for, and the rules; made anew when a value changes, and shared by all
/// scanners.
pub struct Known {
    pub(super) values: Vec<Value>,
    pub(super) filter: Filter<What>,
}

/// What may begin at a place.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The value of this number, in this notation.
    Value(usize, Way),
    /// A token of the rule of this number, with this one of its beginnings.
    Token(usize, usize),
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.iter().map(|value| (value.kind, &value.name))).finish()
    }
}

impl Known {
    /// Begins with no value.
    pub fn builder() -> KnownBuilder {
        KnownBuilder { values: Vec::new() }
    }
}

/// Collects values.
pub struct KnownBuilder {
    values: Vec<Value>,
}

impl fmt::Debug for KnownBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.iter().map(|value| (value.kind, &value.name))).finish()
    }
}

impl KnownBuilder {
    /// Adds the value of a credential, which may have several. One of fewer than 6 bytes is not searched for.
    #[must_use]
    pub fn credential(self, name: &str, value: &[u8]) -> Self {
        self.add(Kind::Credential, name, value)
    }

    /// Adds the placeholder of a credential, by the same rule.
    #[must_use]
    pub fn placeholder(self, name: &str, value: &[u8]) -> Self {
        self.add(Kind::Placeholder, name, value)
    }

    /// Ends it.
    pub fn build(self) -> Known {
        let mut entries: Vec<Entry<What>> = Vec::new();
        for (index, value) in self.values.iter().enumerate() {
            entries.extend(value.begins(|way| What::Value(index, way)));
        }
        entries.extend(rules::begins().iter().cloned());
        Known { values: self.values, filter: Filter::new(entries) }
    }

    fn add(mut self, kind: Kind, name: &str, value: &[u8]) -> Self {
        let there = self.values.iter().any(|there| there.is(kind, name, value));
        if !there {
            self.values.extend(Value::parts(kind, name, value));
        }
        self
    }
}
