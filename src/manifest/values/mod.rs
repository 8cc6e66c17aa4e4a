//! The scalars of the manifest, each a type that only a valid text becomes.
//!
//! Much of the manifest ends on a command line, in a path or in a file with a syntax of its own. What could be an
//! option, leave a directory or break a line there is refused here, where its place is known.

mod git_url;
mod net;
mod paths;
mod ssh_key;
mod words;

pub use git_url::{GitUrl, Transport};
pub use net::{Address, HeldSeconds, Host, HostPattern, Port, ProxyUrl};
pub use paths::{ContainerPath, FileName, HomePath, HostPath, PathBase, RefPattern, RoutePath, TreePattern};
pub use ssh_key::HostKey;
pub use words::{
    BottleName, Cpus, EnvName, EnvValue, HeaderName, ImageName, Memory, Method, Name, Pids, RegistryPrefix,
    RuntimeName, ToolName, Username,
};

use super::decode::Invalid;
use super::source::shown;

/// Declares a scalar that keeps its text, and what the JSON Schema says of it: other tools read `8080` as a number
/// where the loader takes the text as it is written, so some scalars have more than one type there.
macro_rules! text {
    ($(#[$meta:meta])* $name:ident, $what:literal, $parse:expr) => {
        $crate::manifest::values::text!($(#[$meta])* $name, $what, $parse, json: "string");
    };
    ($(#[$meta:meta])* $name:ident, $what:literal, $parse:expr, json: $type:tt) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Eq, Hash, PartialEq)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        $crate::manifest::values::text!(@scalar $name, $what, |text: &str| $parse(text).map($name), $type);
    };
    (@scalar $name:ident, $what:literal, $parse:expr, $type:tt) => {
        impl $crate::manifest::decode::Scalar for $name {
            const WHAT: &'static str = $what;

            fn parse(text: &str) -> Result<Self, $crate::manifest::decode::Invalid> {
                $parse(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            /// Reads one as the manifest does, for what comes from elsewhere.
            fn from_str(text: &str) -> Result<Self, String> {
                <Self as $crate::manifest::decode::Scalar>::parse(text).map_err(|invalid| invalid.message)
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

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": $type, "description": concat!("Written as ", $what, ".") })
            }
        }
    };
}

use text;

/// Refuses what can't be on a command line, in an environment or on one line of a file.
fn one_line(text: &str, what: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(format!("{what} is empty")));
    }
    if let Some(character) = text.chars().find(|character| character.is_control()) {
        let name = match character {
            '\0' => "a NUL character".to_owned(),
            '\n' | '\r' => "a line break".to_owned(),
            other => format!("the control character {}", other.escape_default()),
        };
        return Err(Invalid::new(format!("{what} has {name}")));
    }
    Ok(())
}

/// Refuses what a program could take for an option.
fn no_option(text: &str, what: &str) -> Result<(), Invalid> {
    if text.starts_with('-') {
        return Err(Invalid::with_hint(
            format!("{what} `{}` starts with `-`, so a program could take it for an option", shown(text)),
            "write a value that doesn't start with `-`",
        ));
    }
    Ok(())
}
