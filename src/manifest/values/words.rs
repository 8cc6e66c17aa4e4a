//! Names, words and numbers.

use super::super::decode::{Decode, Decoder, Invalid, integer};
use super::super::node::Node;
use super::super::source::shown;
use super::{no_option, one_line, text};

text! {
    /// The name of a bottle, an agent, a repository or a credential.
    ///
    /// It becomes a Compose project name, a directory and a path in a URL, so it is as strict as the strictest of them
    /// (Compose specification, "name").
    Name, "a name of lowercase letters, digits, `-` and `_`", name
}

text! {
    /// The name of a bottle: of the same file, or `home/NAME` for one of the user's own configuration.
    BottleName, "the name of a bottle", |text: &str| match text.strip_prefix("home/") {
        Some(rest) => name(rest).map(|rest| format!("home/{rest}")),
        None => name(text),
    }
}

/// The longest name: `bottle-<slug>-git-gate-1` stays below the 63 bytes of a DNS label (RFC 1035).
const MAX_NAME: usize = 40;

fn name(text: &str) -> Result<String, Invalid> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = text.bytes().next().is_some_and(fits);
    if first && text.len() <= MAX_NAME && text.bytes().all(|byte| fits(byte) || byte == b'-' || byte == b'_')
    {
        return Ok(text.to_owned());
    }
    Err(Invalid::with_hint(
        format!("`{}` is not a name", shown(text)),
        format!(
            "use at most {MAX_NAME} lowercase letters, digits, `-` and `_`, with a letter or digit first"
        ),
    ))
}

text! {
    /// The name of an environment variable.
    EnvName, "the name of an environment variable", |text: &str| {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Ok(text.to_owned());
        }
        Err(Invalid::with_hint(
            format!("`{}` is not the name of an environment variable", shown(text)),
            "use letters, digits and `_`, with no digit first",
        ))
    }
}

text! {
    /// The value of an environment variable: anything but a NUL character.
    EnvValue, "a text", |text: &str| {
        if text.contains('\0') {
            return Err(Invalid::new("the value has a NUL character"));
        }
        Ok::<_, Invalid>(text.to_owned())
    }
}

text! {
    /// The name of an HTTP field (RFC 9110, section 5.1).
    HeaderName, "the name of an HTTP header", |text: &str| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !text.is_empty() && text.bytes().all(token) {
            return Ok(text.to_owned());
        }
        Err(Invalid::new(format!("`{}` is not the name of an HTTP header", shown(text))))
    }
}

text! {
    /// An HTTP method (RFC 9110, section 9), or `ANY`.
    Method, "an HTTP method in capital letters, or `ANY`", |text: &str| {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            if text == "CONNECT" {
                return Err(Invalid::new("CONNECT can't be allowed: the proxy opens no tunnels"));
            }
            return Ok(text.to_owned());
        }
        Err(Invalid::with_hint(
            format!("`{}` is not an HTTP method", shown(text)),
            format!("methods are written in capital letters, such as `{}`", if text.is_ascii() && text.bytes().all(|byte| byte.is_ascii_alphabetic()) && !text.is_empty() { text.to_ascii_uppercase() } else { "POST".to_owned() }),
        ))
    }
}

text! {
    /// The user name of a Basic credential (RFC 7617, section 2: no colon, no control character).
    Username, "a user name", |text: &str| {
        one_line(text, "the user name")?;
        if text.contains(':') {
            return Err(Invalid::new("a user name has no colon (RFC 7617)"));
        }
        Ok(text.to_owned())
    }
}

text! {
    /// The reference of a container image.
    ImageName, "an image", |text: &str| {
        one_line(text, "the image")?;
        no_option(text, "the image")?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
        if text.bytes().all(fits) {
            return Ok(text.to_owned());
        }
        Err(Invalid::with_hint(format!("`{}` is not an image reference", shown(text)), "write it as `name:tag` or `registry.example.org/name@sha256:…`"))
    }
}

text! {
    /// The start of an image reference: a registry and a path.
    RegistryPrefix, "a registry and a path, such as `ghcr.io/acme`", |text: &str| {
        one_line(text, "the registry")?;
        no_option(text, "the registry")?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
        if text.bytes().all(fits) && !text.ends_with('/') {
            return Ok(text.to_owned());
        }
        Err(Invalid::with_hint(format!("`{}` is not a registry", shown(text)), "write it as `registry.example.org/team`, without a slash at the end"))
    }
}

text! {
    /// An amount of memory in the notation of Compose ("byte values").
    Memory, "an amount of memory, such as `512m` or `4g`", |text: &str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let known = ["", "b", "k", "kb", "m", "mb", "g", "gb"].contains(&unit.to_ascii_lowercase().as_str());
        if known && number.parse::<u64>().is_ok_and(|number| number > 0) {
            return Ok(text.to_ascii_lowercase());
        }
        Err(Invalid::with_hint(format!("`{}` is not an amount of memory", shown(text)), "write a number and a unit, such as `512m` or `4g`"))
    }
}

impl Memory {
    /// The amount in bytes.
    pub fn bytes(&self) -> u64 {
        let digits = self.0.trim_end_matches(|character: char| character.is_ascii_alphabetic());
        let factor =
            match self.0.trim_start_matches(|character: char| character.is_ascii_digit()).bytes().next() {
                Some(b'k') => 1 << 10,
                Some(b'm') => 1 << 20,
                Some(b'g') => 1 << 30,
                _ => 1,
            };
        digits.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor)
    }
}

text! {
    /// A number of processors.
    Cpus, "a number of processors, such as `2` or `0.5`", |text: &str| {
        let decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && text.bytes().any(|byte| byte.is_ascii_digit());
        if decimal && text.parse::<f64>().is_ok_and(|number| number > 0.0 && number <= 4096.0) {
            return Ok(text.to_owned());
        }
        Err(Invalid::new(format!("`{}` is not a number of processors", shown(text))))
    }
}

/// A limit of processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema)]
pub struct Pids(#[schemars(range(min = 16, max = 4_194_304))] pub u32);

impl Decode for Pids {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        integer(node, decoder, 16, 4_194_304).and_then(|number| u32::try_from(number).ok()).map(Self)
    }
}
