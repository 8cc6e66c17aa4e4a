//! Paths: on the host, in a URL, in a repository's tree, and of refs.

use super::super::decode::Invalid;
use super::super::source::shown;
use super::{no_option, one_line, text};
use crate::policy::path::Pattern;

/// What a path on the host is relative to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathBase {
    /// The directory of the file that names it.
    File,
    /// The user's home directory (`~/`).
    Home,
    /// The root of the file system.
    Root,
}

/// A path on the host, in the notation of Compose: relative to the file that names it, below `~/`, or absolute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPath {
    /// What it is relative to.
    pub base: PathBase,
    /// The rest, without `.` segments and without a slash at either end; `..` stands only at the start of a path that
    /// is relative to a file.
    pub rest: String,
}

text!(@scalar HostPath, "a path on the host", host_path, "string");

fn host_path(text: &str) -> Result<HostPath, Invalid> {
    one_line(text, "the path")?;
    let (base, rest) = if text == "~" {
        (PathBase::Home, "")
    } else if let Some(rest) = text.strip_prefix("~/") {
        (PathBase::Home, rest)
    } else if text.starts_with('~') {
        return Err(Invalid::with_hint(
            format!("`{}` names another user's home directory", shown(text)),
            "write `~/…` or an absolute path",
        ));
    } else if let Some(rest) = text.strip_prefix('/') {
        (PathBase::Root, rest)
    } else {
        (PathBase::File, text)
    };
    let mut segments: Vec<&str> = Vec::new();
    for segment in rest.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        match (segment, segments.last()) {
            ("..", Some(last)) if *last != ".." => drop(segments.pop()),
            ("..", _) if base != PathBase::File => {
                return Err(Invalid::new(format!("`{}` leaves the directory it starts in", shown(text))));
            }
            _ => segments.push(segment),
        }
    }
    Ok(HostPath { base, rest: segments.join("/") })
}

text! {
    /// A path of a route: segments, `*` for one segment, `**` for any number of them.
    RoutePath, "a path of a URL, such as `/v1/**`", |text: &str| {
        one_line(text, "the path")?;
        if !text.starts_with('/') {
            return Err(Invalid::with_hint(format!("`{}` does not start with `/`", shown(text)), format!("write `/{}`", shown(text))));
        }
        // The same reader as egress has: a pattern that it would refuse is refused here, with its place.
        Pattern::parse(text).map_err(|invalid| Invalid::new(invalid.0))?;
        Ok(text.to_owned())
    }
}

text! {
    /// A pattern over refs. One without `refs/` before it means branches.
    RefPattern, "a pattern over refs, such as `agent/**` or `refs/tags/v*`", |text: &str| {
        one_line(text, "the pattern")?;
        no_option(text, "the pattern")?;
        let full = if text.starts_with("refs/") { text.to_owned() } else { format!("refs/heads/{text}") };
        let namespace = full.starts_with("refs/heads/") || full.starts_with("refs/tags/");
        if !namespace || text.starts_with("heads/") || text.starts_with("tags/") {
            return Err(Invalid::with_hint(
                format!("`{}` reaches beyond branches and tags", shown(text)),
                "write a branch such as `agent/**`, or `refs/tags/…`",
            ));
        }
        // git-check-ref-format(1), with `*` allowed as the pattern's own character.
        let bad = |character: char| character.is_ascii_whitespace() || "~^:?[\\".contains(character);
        let segment = |segment: &str| {
            !segment.is_empty() && !segment.starts_with('.') && segment.strip_suffix(".lock").is_none()
        };
        if full.contains(bad) || full.contains("..") || full.contains("@{") || full.ends_with('.') || !full.split('/').all(segment) {
            return Err(Invalid::with_hint(
                format!("`{}` can match no ref", shown(text)),
                "see git-check-ref-format(1); only `*` and `**` are wildcards",
            ));
        }
        Ok(full)
    }
}

text! {
    /// A pattern over the paths in a repository's tree.
    TreePattern, "a path in the repository, such as `.github/**`", |text: &str| {
        one_line(text, "the pattern")?;
        let segment = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
        if !text.split('/').all(segment) {
            return Err(Invalid::with_hint(
                format!("`{}` can match no path in a repository", shown(text)),
                "write it relative to the root of the repository, without a slash at either end",
            ));
        }
        Ok(text.to_owned())
    }
}

/// The most bytes of a path in a container, or of a file's name.
const MAX_PATH: usize = 200;

/// Whether a text is a path of plain segments.
fn is_plain(text: &str) -> bool {
    let character = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte);
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..") && !segment.starts_with('-') && segment.bytes().all(character)
    };
    text.len() <= MAX_PATH && text.split('/').all(segment)
}

text! {
    /// The name of a file, without a directory.
    FileName, "the name of a file", |text: &str| {
        if is_plain(text) && !text.contains('/') && !text.starts_with('.') {
            return Ok(text.to_owned());
        }
        Err(Invalid::with_hint(
            format!("`{}` is not the name of a file", shown(text)),
            "write letters, digits, `.`, `_` and `-`, without a directory; all files lie beside each other",
        ))
    }
}

text! {
    /// An absolute path in a container.
    ContainerPath, "an absolute path in the container", |text: &str| {
        if text.strip_prefix('/').is_some_and(is_plain) {
            return Ok(text.to_owned());
        }
        Err(Invalid::with_hint(
            format!("`{}` is not an absolute path in the container", shown(text)),
            "write one such as `/etc/mine/settings.json`, without `.`, `..` and a slash at its end",
        ))
    }
}

text! {
    /// A path below the agent's home.
    HomePath, "a path below the agent's home", |text: &str| {
        if is_plain(text) {
            return Ok(text.to_owned());
        }
        Err(Invalid::with_hint(
            format!("`{}` is not a path below the agent's home", shown(text)),
            "write one such as `.mine/settings.json`, without `.`, `..` and a slash at either end",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::decode::Scalar as _;
    use super::{HostPath, PathBase, RefPattern, TreePattern};

    #[test]
    fn a_host_path_is_resolved_without_looking_at_the_disk() {
        let path = |text| HostPath::parse(text).map(|path| (path.base, path.rest)).ok();
        assert_eq!(path("./a/../b"), Some((PathBase::File, "b".into())));
        assert_eq!(path("../x"), Some((PathBase::File, "../x".into())));
        assert_eq!(path("~/.ssh/id"), Some((PathBase::Home, ".ssh/id".into())));
        assert_eq!(path("/etc//x/"), Some((PathBase::Root, "etc/x".into())));
        assert_eq!(path("~/../x"), None);
        assert_eq!(path("~bob/x"), None);
        assert_eq!(path("a\nb"), None);
    }

    #[test]
    fn a_short_ref_pattern_means_branches() {
        let full = |text| RefPattern::parse(text).map(|pattern| pattern.as_str().to_owned()).ok();
        assert_eq!(full("agent/**"), Some("refs/heads/agent/**".into()));
        assert_eq!(full("refs/tags/v*"), Some("refs/tags/v*".into()));
        for text in
            ["refs/**", "refs/replace/x", "heads/x", "--force", "a..b", "a b", "/x", "x.lock", "a:b", ""]
        {
            assert_eq!(full(text), None, "`{text}` was accepted");
        }
    }

    #[test]
    fn a_tree_pattern_is_relative_and_stays_inside() {
        assert!(TreePattern::parse(".bottle/**").is_ok());
        assert!(TreePattern::parse("/etc").is_err());
        assert!(TreePattern::parse("a/../b").is_err());
    }
}
