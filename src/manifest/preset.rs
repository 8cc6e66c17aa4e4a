//! A preset's description, `preset.yaml`: its types, what is wrong with one, and how a preset is read from its files.
//!
//! Bottle's own presets and those in a directory of the user's are read by the same code. A preset names each of its files,
//! so that nothing else of its directory is looked at.

use std::path::Path;
use std::sync::Arc;

use super::decode::{Decode as _, Decoder, List, Map, mapping};
use super::diagnostic::Diagnostic;
use super::node;
use super::source::{FileId, Sources, Span, Spanned, is_unprintable, shown};
use super::types::Inject;
use super::values::{ContainerPath, EnvName, EnvValue, FileName, HomePath, Host, Method, RoutePath};
use crate::policy::egress::Inject as Carried;
use crate::preset::{self, Preset};
use crate::render::{MARK, is_ours};

/// The file that describes a preset.
pub(crate) const FILE_NAME: &str = "preset.yaml";
/// The most bytes of one file of a preset: the lock of a client's packages has some hundred thousand.
pub(crate) const MAX_FILE: u64 = 1 << 20;
/// The most files that one preset is made of.
const MAX_FILES: usize = 64;
/// The environment variables that the bundle sets in every agent's container.
pub(crate) const RESERVED: [&str; 2] = ["GIT_CONFIG_SYSTEM", "HOME"];
/// The files that the bundle itself has beside those of a client.
const TAKEN: [&str; 3] = ["entrypoint.sh", "gitconfig", "mcp.json"];

mapping! {
    /// What `preset.yaml` says.
    Description, "a preset" {
        /// The command of the container, where the manifest has none.
        required command: List<EnvValue>,
        /// The program that a session in the container starts with, where it isn't `bash`.
        optional session: Spanned<FileName>,
        /// The files that the image is built from.
        required build: List<FileName>,
        /// Environment variables of the agent.
        optional environment: Map<EnvName, Spanned<EnvValue>>,
        /// Where the client's model is.
        optional model: Model,
        /// What the client reads, from templates.
        optional files: List<ClientFile>,
        /// Where the client reads its instructions.
        required prompt: Spanned<ContainerPath>,
        /// The directory in which the client looks for skills.
        required skills: Spanned<ContainerPath>,
        /// Links in the agent's home, made anew at each start.
        optional links: List<Link>,
    }
}

mapping! {
    /// The model's API: what a route must allow, and by which variables the client takes a credential.
    Model, "`model`" {
        /// The host.
        required host: Spanned<Host>,
        /// The methods that the client uses.
        required methods: List<Method>,
        /// The paths that it uses; without the first one it doesn't work.
        required paths: List<RoutePath>,
        /// The variables that stand for a credential, by the form in which requests carry it; the usual one first.
        required keys: List<Key>,
        /// Variables with which the client asks another host.
        optional elsewhere: List<EnvName>,
    }
}

mapping! {
    /// A variable that stands for a credential.
    Key, "a key" {
        /// How requests carry it.
        required inject: Spanned<Inject>,
        /// The variable.
        required env: Spanned<EnvName>,
    }
}

mapping! {
    /// A file that the client reads.
    ClientFile, "a file of the client" {
        /// Its name in the bundle; the template's is that and `.j2`.
        required name: Spanned<FileName>,
        /// Where it is mounted, read-only.
        optional target: Spanned<ContainerPath>,
        /// Where in the agent's home it is copied to, unless there is one.
        optional once: Spanned<HomePath>,
    }
}

mapping! {
    /// A link in the agent's home.
    Link, "a link" {
        /// Its place below the home.
        required path: Spanned<HomePath>,
        /// What it leads to.
        required target: Spanned<ContainerPath>,
    }
}

/// Where a preset comes from.
pub(crate) struct Origin<'a> {
    /// The preset as the manifest writes it.
    pub(crate) name: &'a str,
    /// Where the manifest names it; none for bottle's own.
    pub(crate) span: Option<Span>,
    /// Reads one of its files.
    pub(crate) read: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
}

/// Reads a preset. What is wrong with it is added to the errors.
pub(crate) fn read(
    origin: &Origin<'_>,
    sources: &mut Sources,
    errors: &mut Vec<Diagnostic>,
) -> Option<Preset> {
    let mut reader = Reader { origin, sources, errors, size: 0 };
    let (file, text) = reader.file(FILE_NAME, origin.span)?;
    let root = match node::parse(file, &text) {
        Ok(root) => root,
        Err(mut wrong) => {
            reader.errors.append(&mut wrong);
            return None;
        }
    };
    let mut decoder = Decoder::default();
    let found = Description::decode(&root, &mut decoder);
    let before = reader.errors.len();
    reader.errors.append(&mut decoder.errors);
    let described = found?;
    check(&described, reader.errors);
    if reader.errors.len() > before {
        return None;
    }
    reader.preset(&described)
}

struct Reader<'a, 'b> {
    origin: &'a Origin<'a>,
    sources: &'b mut Sources,
    errors: &'b mut Vec<Diagnostic>,
    size: usize,
}

impl Reader<'_, '_> {
    fn preset(&mut self, described: &Description) -> Option<Preset> {
        let Description {
            command,
            session: _,
            build,
            environment: _,
            model: _,
            files,
            prompt: _,
            skills: _,
            links: _,
        } = described;
        let before = self.errors.len();
        let mut texts = Vec::new();
        for name in build {
            texts.extend(self.marked(name.value.as_str(), name.span));
        }
        let mut templates = Vec::new();
        for file in files.iter().flat_map(List::iter) {
            let name = format!("{}.j2", file.value.name.value.as_str());
            templates.extend(self.marked(&name, file.value.name.span));
        }
        (self.errors.len() == before && !command.0.is_empty()).then(|| Preset {
            name: self.origin.name.to_owned(),
            is_own: self.origin.span.is_some(),
            description: plain(described),
            build: texts,
            templates,
        })
    }

    /// A file that is copied or rendered into the bundle, where bottle must know it again.
    fn marked(&mut self, name: &str, span: Span) -> Option<(String, String)> {
        let (file, text) = self.file(name, Some(span))?;
        if !is_ours(text.as_bytes()) {
            let ending = name.trim_end_matches(".j2").rsplit_once('.').map(|(_, ending)| ending);
            let line =
                if ending == Some("json") { format!("  \"#\": \"{MARK}\",") } else { format!("# {MARK}") };
            self.errors.push(
                Diagnostic::new(
                    first_line(file, &text),
                    format!("none of the first three lines of `{name}` says `{MARK}`, by which bottle knows its copies"),
                )
                .hint(format!("write the line `{line}` there")),
            );
            return None;
        }
        Some((name.to_owned(), text))
    }

    fn file(&mut self, name: &str, span: Option<Span>) -> Option<(FileId, String)> {
        let shown_name = format!("{}/{name}", shown(self.origin.name));
        let fail = |what: String| match span {
            Some(span) => Diagnostic::new(span, what),
            None => Diagnostic::without_place(what),
        };
        let bytes = match (self.origin.read)(name) {
            Ok(bytes) => bytes,
            Err(why) => {
                let why = format!("the preset's file `{shown_name}` can't be used: {}", shown(&why));
                self.errors.push(fail(why).hint(format!(
                    "a preset is a directory with `{FILE_NAME}` and the files that it names: regular files of at most {} KiB",
                    MAX_FILE >> 10
                )));
                return None;
            }
        };
        self.size += bytes.len();
        let Ok(text) = String::from_utf8(bytes) else {
            self.errors.push(fail(format!("the preset's file `{shown_name}` is not UTF-8")));
            return None;
        };
        let file = self.sources.add(shown_name, text.clone());
        // What a reviewer would not see. A line's end may be a Windows one in no file that a container runs.
        let hidden = |character: &char| is_unprintable(*character) && !matches!(character, '\n' | '\t');
        if let Some((start, character)) = text.char_indices().find(|(_, character)| hidden(character)) {
            let span = Span { file, start, end: start + character.len_utf8() };
            self.errors.push(
                Diagnostic::new(
                    span,
                    format!("the character {} has no place in a preset", character.escape_unicode()),
                )
                .hint("it would hide from whoever reviews the file: take it out"),
            );
            return None;
        }
        Some((file, text))
    }
}

fn first_line(file: FileId, text: &str) -> Span {
    Span { file, start: 0, end: text.lines().next().map_or(0, str::len) }
}

/// Finds what the types can't say.
fn check(described: &Description, errors: &mut Vec<Diagnostic>) {
    let Description { command: _, session: _, build, environment, model, files, prompt, skills, links } =
        described;
    let files = || files.iter().flat_map(List::iter);
    if !build.iter().any(|name| name.value.as_str() == "Dockerfile") {
        let span = build.0.first().map(|name| name.span);
        errors.extend(span.map(|span| {
            Diagnostic::new(span, "the image is built from no `Dockerfile`")
                .hint("add `Dockerfile` to `build`")
        }));
    }
    if let Some(many) = build.iter().chain(files().map(|file| &file.value.name)).nth(MAX_FILES) {
        errors.push(Diagnostic::new(many.span, format!("a preset has at most {MAX_FILES} files")));
    }
    unique("name", build.iter().map(|name| (name.value.as_str(), name.span)), errors);
    unique("name", files().map(|file| (file.value.name.value.as_str(), file.value.name.span)), errors);
    for file in files() {
        let ClientFile { name, target, once } = &file.value;
        if TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(name.value.as_str())) {
            errors.push(
                Diagnostic::new(
                    name.span,
                    format!("the bundle has a file `{}` of its own", name.value.as_str()),
                )
                .hint("choose another name; `target` is where the client finds it"),
            );
        }
        if target.is_some() == once.is_some() {
            errors.push(
                Diagnostic::new(name.span, "a file of the client needs `target` or `once`, and not both")
                    .hint("`target` mounts it read-only; `once` copies it into the home, for a file that the client changes"),
            );
        }
    }
    let targets = || files().filter_map(|file| file.value.target.as_ref());
    for target in targets().chain([prompt, skills]) {
        mountable(target, errors);
    }
    let mounts = || targets().chain([prompt]).map(|target| (target.value.as_str(), target.span));
    unique("place", mounts(), errors);
    for (inner, span) in mounts() {
        let outer =
            mounts().find(|(outer, _)| inner.strip_prefix(*outer).is_some_and(|rest| rest.starts_with('/')));
        if let Some((_, outer)) = outer {
            errors.push(Diagnostic::new(span, "this place is below a file").note(outer, "the file is here"));
        }
    }
    let once = files().filter_map(|file| file.value.once.as_ref());
    let links = links.iter().flat_map(List::iter).map(|link| &link.value.path);
    unique("place", once.chain(links).map(|path| (path.value.as_str(), path.span)), errors);
    let keys = model.iter().flat_map(|model| model.keys.iter());
    for key in keys.clone() {
        if carried(&key.value.inject.value).is_none() {
            errors.push(Diagnostic::new(
                key.value.inject.span,
                "`inject` needs `header` or `bearer` or `basic`, exactly one of them",
            ));
        }
    }
    let set = environment.iter().flat_map(Map::iter).map(|(name, _)| name);
    for name in set.chain(keys.map(|key| &key.value.env)) {
        if RESERVED.contains(&name.value.as_str()) {
            errors.push(Diagnostic::new(
                name.span,
                format!("`{}` is set by the bundle itself", name.value.as_str()),
            ));
        }
    }
    if let Some(first) = model.as_ref().and_then(|model| model.paths.0.first())
        && first.value.as_str().contains('*')
    {
        errors.push(Diagnostic::new(
            first.span,
            "the first path is the one that the client can't do without, so it has no wildcard",
        ));
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = (&'a str, Span)>, errors: &mut Vec<Diagnostic>) {
    let mut seen: Vec<(&str, Span)> = Vec::new();
    for (name, span) in names {
        if let Some((_, first)) = seen.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            errors.push(
                Diagnostic::new(span, format!("two files have the {what} `{}`", shown(name)))
                    .note(*first, "the first one is here"),
            );
        }
        seen.push((name, span));
    }
}

/// Refuses a mount over what holds the agent, over what the engine writes, and over the agent's own volumes.
fn mountable(target: &Spanned<ContainerPath>, errors: &mut Vec<Diagnostic>) {
    const OF_BOTTLE: [&str; 2] = ["/etc/bottle/prompt.md", "/etc/bottle/skills"];
    const OF_ENGINE: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
    const WHOLE: [&str; 9] =
        ["/dev", "/etc/bottle", "/home", "/proc", "/run", "/sys", "/tmp", "/var/run", "/workspace"];
    let path = target.value.as_str();
    let is_below =
        |whole: &&str| path.strip_prefix(*whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let taken = OF_ENGINE.contains(&path) || WHOLE.iter().any(is_below) || path.matches('/').count() < 2;
    if taken && !OF_BOTTLE.contains(&path) {
        errors.push(
            Diagnostic::new(target.span, format!("`{path}` is not a preset's to mount over")).hint(
                "name a place such as `/etc/mine/settings.json`; what belongs into the home is copied there with `once`, or is a link",
            ),
        );
    }
}

fn carried(inject: &Inject) -> Option<Carried> {
    match inject {
        Inject { header: Some(header), bearer: None, basic: None } => {
            Some(Carried::Header(header.value.as_str().to_owned()))
        }
        Inject { header: None, bearer: Some(_), basic: None } => Some(Carried::Bearer),
        Inject { header: None, bearer: None, basic: Some(basic) } => {
            Some(Carried::Basic(basic.value.username.value.as_str().to_owned()))
        }
        _ => None,
    }
}

/// The description without its places.
fn plain(described: &Description) -> preset::Description {
    let Description { command, session, build, environment, model, files, prompt, skills, links } = described;
    let text = |path: &Spanned<ContainerPath>| path.value.as_str().to_owned();
    preset::Description {
        command: texts(command),
        session: session.as_ref().map(|program| program.value.as_str().to_owned()),
        build: texts(build),
        environment: environment
            .iter()
            .flat_map(Map::iter)
            .map(|(name, value)| (name.value.as_str().to_owned(), value.value.as_str().to_owned()))
            .collect(),
        model: model.as_ref().map(|model| {
            let Model { host, methods, paths, keys, elsewhere } = model;
            let key = |key: &Spanned<Key>| {
                let Key { inject, env } = &key.value;
                Some(preset::Key { inject: carried(&inject.value)?, env: env.value.as_str().to_owned() })
            };
            preset::Model {
                host: host.value.as_str().to_owned(),
                methods: texts(methods),
                paths: texts(paths),
                keys: keys.iter().filter_map(key).collect(),
                elsewhere: elsewhere.as_ref().map(texts).unwrap_or_default(),
            }
        }),
        files: files
            .iter()
            .flat_map(List::iter)
            .map(|file| {
                let ClientFile { name, target, once } = &file.value;
                preset::ClientFile {
                    name: name.value.as_str().to_owned(),
                    target: target.as_ref().map(text),
                    once: once.as_ref().map(|once| once.value.as_str().to_owned()),
                }
            })
            .collect(),
        prompt: text(prompt),
        skills: text(skills),
        links: links
            .iter()
            .flat_map(List::iter)
            .map(|link| {
                let Link { path, target } = &link.value;
                preset::Link { path: path.value.as_str().to_owned(), target: text(target) }
            })
            .collect(),
    }
}

fn texts<T: AsRef<str>>(list: &List<T>) -> Vec<String> {
    list.iter().map(|text| text.value.as_ref().to_owned()).collect()
}

/// A preset that comes with bottle, from its files.
pub(crate) fn built_in(name: &str, files: &[(&str, &str)]) -> Result<Preset, Vec<Diagnostic>> {
    let read_one = |wanted: &str| {
        let found = files.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "it is not there".to_owned())
    };
    let mut errors = Vec::new();
    let origin = Origin { name, span: None, read: &read_one };
    read(&origin, &mut Sources::default(), &mut errors).ok_or(errors)
}

/// The presets of a manifest, by the place where it names them.
pub(crate) type Presets = Vec<(Span, Arc<Preset>)>;

/// Reads a preset's file from the disk. A link among a preset's files could lead anywhere, and so could one on the way that
/// a repository brings.
pub(crate) fn on_disk(directory: &Path, name: &str) -> Result<Vec<u8>, String> {
    use crate::fs::{Links, read_regular};
    read_regular(&directory.join(name), MAX_FILE, Links::Refused).map_err(|error| error.source.to_string())
}
