//! Names, words and numbers.

use super::super::decode::{Decode, Decoder, Invalid, integer};
use super::super::node::Node;
use super::super::source::shown;
use super::{no_option, one_line, text};

/// The most bytes of a tool's name.
const MAX_TOOL: usize = 64;

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
    }, json: ["string", "number", "boolean"]
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
    /// The name of a tool that a model's provider runs.
    ToolName, "the name of a server's tool, such as `web_search`", |text: &str| {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if first && text.len() <= MAX_TOOL && text.bytes().all(word) {
            return Ok(text.to_owned());
        }
        Err(Invalid::with_hint(
            format!("`{}` is not the name of a server's tool", shown(text)),
            "write it in lower case with `_`, without a version, such as `web_search`",
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

/// The grammar of an image reference: a repository, and then a tag, a digest or both (github.com/distribution/reference).
fn is_image(text: &str) -> bool {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let last = rest.rfind('/').map_or(0, |at| at + 1);
    let colon = rest.rfind(':').filter(|colon| *colon > last);
    let (repository, tag) = match colon {
        Some(colon) => (rest.get(..colon).unwrap_or_default(), rest.get(colon + 1..)),
        None => (rest, None),
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_tag = |tag: &str| {
        (1..=128).contains(&tag.len())
            && tag.bytes().next().is_some_and(word)
            && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
    };
    let is_digest = |digest: &str| {
        digest.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    is_repository(repository) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

/// A registry's host and the path of a repository, or only a path.
fn is_repository(text: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_component = |part: &str| {
        let mut words = part.split(|character: char| "._-".contains(character));
        let separated =
            !part.contains("..") && !part.contains("___") && !part.contains("._") && !part.contains("_.");
        let separated = separated && !["-.", ".-", "-_", "_-"].iter().any(|pair| part.contains(pair));
        let ends = part.bytes().next().is_some_and(lower) && part.bytes().next_back().is_some_and(lower);
        ends && separated && words.all(|word| word.bytes().all(lower))
    };
    let is_host = |part: &str| {
        let (name, port) = part.split_once(':').map_or((part, None), |(name, port)| (name, Some(port)));
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        (part == "localhost" || part.contains(['.', ':']))
            && name.split('.').all(label)
            && port
                .is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with('+'))
    };
    let mut parts = text.split('/');
    let first = parts.next().unwrap_or_default();
    text.len() <= 255 && (is_host(first) || is_component(first)) && parts.all(is_component)
}

text! {
    /// The reference of a container image.
    ImageName, "an image", |text: &str| {
        one_line(text, "the image")?;
        no_option(text, "the image")?;
        if is_image(text) {
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
        if is_repository(text) {
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
            let memory = Memory(text.to_ascii_lowercase());
            if memory.bytes() > MAX_MEMORY {
                return Err(Invalid::new(format!("`{}` is more memory than Compose can count", shown(text))));
            }
            return Ok(memory.0);
        }
        Err(Invalid::with_hint(format!("`{}` is not an amount of memory", shown(text)), "write a number and a unit, such as `512m` or `4g`"))
    }, json: ["string", "integer"]
}

/// The most that Compose adds up without a mistake: it goes through a floating-point number with 53 bits.
const MAX_MEMORY: u64 = 1 << 53;

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
    }, json: ["string", "number"]
}

text! {
    /// The name of an OCI runtime: one that the engine's configuration lists, or a containerd shim such as
    /// `io.containerd.kata.v2`.
    RuntimeName, "the name of an OCI runtime", |text: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && text.len() <= 128 && text.bytes().all(fits) {
            return Ok(text.to_owned());
        }
        Err(Invalid::with_hint(
            format!("`{}` is not the name of an OCI runtime", shown(text)),
            "write it as the engine knows it, such as `runsc` or `io.containerd.kata.v2`",
        ))
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
