//! From the tree to types: the rules that all types of the manifest share.
//!
//! [`mapping!`] declares a type once, and derives from that one declaration what is accepted here and what the JSON
//! Schema says, so that the two cannot differ.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::diagnostic::{Diagnostic, suggest};
use super::node::{Kind, Node};
use super::source::{Span, Spanned, shown};

/// Collects what is wrong, so that one look at a manifest reports all of it.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    pub(super) errors: Vec<Diagnostic>,
}

impl Decoder {
    /// Notes an error.
    pub(super) fn error(&mut self, diagnostic: Diagnostic) {
        self.errors.push(diagnostic);
    }

    fn expected<T>(&mut self, what: &str, node: &Node) -> Option<T> {
        self.error(Diagnostic::new(node.span, format!("expected {what}, found {}", node.describe())));
        None
    }
}

/// A type that a node of the tree may stand for.
pub(super) trait Decode: Sized {
    /// Decodes a node. `None` means that at least one error was noted.
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self>;
}

/// A scalar with a syntax of its own.
pub(super) trait Scalar: Sized {
    /// What it is, with its article, for "expected …".
    const WHAT: &'static str;

    /// Parses the text of a scalar.
    fn parse(text: &str) -> Result<Self, Invalid>;
}

/// Why a text isn't what its place asks for.
#[derive(Debug)]
pub(super) struct Invalid {
    /// A lowercase sentence without a final period.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Invalid {
    /// Only what is wrong.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// What is wrong, and what to write instead.
    pub(super) fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

/// Decodes a [`Scalar`].
pub(super) fn scalar<T: Scalar>(node: &Node, decoder: &mut Decoder) -> Option<T> {
    let Kind::Scalar { text, .. } = &node.kind else { return decoder.expected(T::WHAT, node) };
    if node.is_null() {
        return decoder.expected(T::WHAT, node);
    }
    match T::parse(text) {
        Ok(value) => Some(value),
        Err(Invalid { message, hint }) => {
            decoder.error(Diagnostic { hint, ..Diagnostic::new(node.span, message) });
            None
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, plain: true } if text == "true" => Some(true),
            Kind::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => decoder.expected("`true` or `false`", node),
        }
    }
}

/// A whole number within bounds, written in decimal digits.
pub(super) fn integer(node: &Node, decoder: &mut Decoder, min: u64, max: u64) -> Option<u64> {
    let what = format!("a whole number from {min} to {max}");
    match &node.kind {
        Kind::Scalar { text, plain: true } if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            match text.parse() {
                Ok(number) if (min..=max).contains(&number) => Some(number),
                _ => decoder.expected(&what, node),
            }
        }
        _ => decoder.expected(&what, node),
    }
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        T::decode(node, decoder).map(|value| Self::new(value, node.span))
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A list with at least one item: an empty one reads as "everything" to one person and as "nothing" to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T>(pub Vec<Spanned<T>>);

impl<T> List<T> {
    /// The items in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Spanned<T>> {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a Spanned<T>;
    type IntoIter = std::slice::Iter<'a, Spanned<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Decode> Decode for List<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let Kind::Sequence(items) = &node.kind else { return decoder.expected("a list", node) };
        if items.is_empty() {
            decoder.error(
                Diagnostic::new(node.span, "an empty list")
                    .hint("leave the key out for its default, or name what is meant"),
            );
            return None;
        }
        // Every item is decoded, so that every error is reported.
        let values: Vec<_> = items.iter().map(|item| Spanned::decode(item, decoder)).collect();
        values.into_iter().collect::<Option<_>>().map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "minItems": 1, "items": generator.subschema_for::<T>() })
    }
}

/// One item, or a list of them.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOrMany<T>(pub Vec<Spanned<T>>);

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(_) => List::decode(node, decoder).map(|List(items)| Self(items)),
            _ => Spanned::decode(node, decoder).map(|item| Self(vec![item])),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrManyOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<T>(), List::<T>::json_schema(generator)] })
    }
}

/// A mapping from names that the user chooses.
#[derive(Clone, Debug, PartialEq)]
pub struct Map<K, V>(pub Vec<(Spanned<K>, V)>);

// Derived, it would ask for defaults of the keys and values.
impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> Map<K, V> {
    /// The entries in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, (Spanned<K>, V)> {
        self.0.iter()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: AsRef<str>, V> Map<K, V> {
    /// The entry with this name.
    pub fn get(&self, name: &str) -> Option<(&Spanned<K>, &V)> {
        self.0.iter().find(|(key, _)| key.value.as_ref() == name).map(|(key, value)| (key, value))
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.value.as_ref())
    }
}

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = &'a (Spanned<K>, V);
    type IntoIter = std::slice::Iter<'a, (Spanned<K>, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Scalar, V: Decode> Decode for Map<K, V> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let Kind::Mapping(entries) = &node.kind else { return decoder.expected("a mapping", node) };
        let mut values = Vec::with_capacity(entries.len());
        let mut complete = true;
        for (key, value) in entries {
            let name = match K::parse(&key.value) {
                Ok(name) => Some(name),
                Err(Invalid { message, hint }) => {
                    decoder.error(Diagnostic { hint, ..Diagnostic::new(key.span, message) });
                    None
                }
            };
            match (name, V::decode(value, decoder)) {
                (Some(name), Some(value)) => values.push((Spanned::new(name, key.span), value)),
                _ => complete = false,
            }
        }
        complete.then_some(Self(values))
    }
}

impl<K: JsonSchema, V: JsonSchema> JsonSchema for Map<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": generator.subschema_for::<K>(),
            "additionalProperties": generator.subschema_for::<V>(),
        })
    }
}

/// The entries of a mapping with known keys, taken out one by one.
pub(super) struct Entries<'a> {
    span: Span,
    what: &'static str,
    left: Vec<Option<&'a (Spanned<String>, Node)>>,
    known: Vec<&'static str>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(node: &'a Node, what: &'static str, decoder: &mut Decoder) -> Option<Self> {
        let Kind::Mapping(entries) = &node.kind else {
            return decoder.expected(&format!("{what} (a mapping)"), node);
        };
        Some(Self { span: node.span, what, left: entries.iter().map(Some).collect(), known: Vec::new() })
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let found = self.left.iter_mut().find(|entry| entry.is_some_and(|(name, _)| name.value == key));
        found.and_then(Option::take).map(|(_, node)| node)
    }

    /// A key that may be left out; the outer `None` means an error.
    #[expect(clippy::option_option, reason = "the two absences differ: left out, and wrong")]
    pub(super) fn optional<T: Decode>(
        &mut self,
        key: &'static str,
        decoder: &mut Decoder,
    ) -> Option<Option<T>> {
        match self.take(key) {
            Some(node) => T::decode(node, decoder).map(Some),
            None => Some(None),
        }
    }

    /// A key that must be there.
    pub(super) fn required<T: Decode>(&mut self, key: &'static str, decoder: &mut Decoder) -> Option<T> {
        if let Some(node) = self.take(key) {
            return T::decode(node, decoder);
        }
        decoder.error(
            Diagnostic::new(self.span, format!("{} needs the key `{key}`", self.what))
                .hint(format!("add `{key}: …` here")),
        );
        None
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self, decoder: &mut Decoder) {
        for (key, _) in self.left.into_iter().flatten() {
            let message = format!("unknown key `{}` in {}", shown(&key.value), self.what);
            decoder.error(
                Diagnostic::new(key.span, message).hint(suggest(&key.value, self.known.iter().copied())),
            );
        }
    }
}

/// Declares a mapping with known keys: the type, how it is decoded, and its JSON Schema.
///
/// Each field is `required` or `optional`; an optional one has the type `Option<…>` of what is written.
macro_rules! mapping {
    (
        $(#[$meta:meta])*
        $name:ident, $what:literal {
            $($(#[$field_meta:meta])* $presence:ident $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: mapping!(@type $presence $type),)*
        }

        impl $crate::manifest::decode::Decode for $name {
            fn decode(
                node: &$crate::manifest::node::Node,
                decoder: &mut $crate::manifest::decode::Decoder,
            ) -> Option<Self> {
                let mut entries = $crate::manifest::decode::Entries::new(node, $what, decoder)?;
                // All fields are decoded before the first missing one ends it, so that every error is reported.
                $(let $field = entries.$presence::<$type>(stringify!($field), decoder);)*
                entries.finish(decoder);
                Some(Self { $($field: $field?,)* })
            }
        }
    };
    (@type required $type:ty) => { $type };
    (@type optional $type:ty) => { Option<$type> };
}

/// Declares a choice between words: the type, how it is decoded, and its JSON Schema.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident, $what:literal { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$variant_meta])* #[schemars(rename = $word)] $variant,)*
        }

        impl $crate::manifest::decode::Scalar for $name {
            const WHAT: &'static str = $what;

            fn parse(text: &str) -> Result<Self, $crate::manifest::decode::Invalid> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::manifest::decode::Invalid::with_hint(
                        format!("`{}` is not {}", $crate::manifest::source::shown(text), $what),
                        $crate::manifest::diagnostic::suggest(text, [$($word),*]),
                    )),
                }
            }
        }

        impl $crate::manifest::decode::Decode for $name {
            fn decode(
                node: &$crate::manifest::node::Node,
                decoder: &mut $crate::manifest::decode::Decoder,
            ) -> Option<Self> {
                $crate::manifest::decode::scalar(node, decoder)
            }
        }
    };
}

pub(super) use {mapping, words};
