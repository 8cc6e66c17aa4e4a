//! Reading `bottle.yaml`, and the bottles of the user's own configuration that it names.

use std::fmt;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::decode::{Decode as _, Decoder, Map, Scalar as _};
use super::diagnostic::{Diagnostic, Diagnostics, said_once};
use super::extends::{self, Bottles, HOME};
use super::node::{self, Kind, Node};
use super::preset::{self, Presets};
use super::source::{FileId, Sources, Span, Spanned, shown};
use super::values::{HostPath, Name, PathBase};
use super::{Manifest, Preset};
use crate::fs::{self, Links};
use crate::preset as presets;

/// The name of the file that is looked for.
pub const FILE_NAME: &str = "bottle.yaml";

/// What messages call standard input.
const STDIN: &str = "<stdin>";

/// The most bytes of a lock file.
const MAX_LOCK: u64 = 64 << 10;

/// Where a manifest comes from.
#[derive(Clone, Debug)]
pub enum Input {
    /// `bottle.yaml` in the working directory or the nearest directory above it.
    Discover,
    /// This file.
    File(PathBuf),
    /// Standard input; paths in it are relative to the working directory.
    Stdin,
    /// A text from elsewhere, such as an older revision.
    Text {
        /// What messages call it.
        name: String,
        /// The absolute directory that paths in it are relative to.
        directory: PathBuf,
        /// The text.
        bytes: Vec<u8>,
        /// The files beside it, where they aren't those on the disk.
        files: Option<Revision>,
    },
}

/// Reads a file of a revision, by its path from the directory of the manifest.
type ReadFile = dyn Fn(&str) -> Result<Vec<u8>, String>;

/// The files of an older revision.
#[derive(Clone)]
pub struct Revision(pub Rc<ReadFile>);

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revision")
    }
}

/// Whose bottles an agent may be put in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Trust {
    /// Those of the manifest, and the user's own.
    #[default]
    Manifest,
    /// Only the user's own (`home/NAME`), so that a cloned repository can't bring its own policy.
    Home,
}

/// What loading needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the manifest comes from.
    pub input: Input,
    /// Whose bottles are accepted.
    pub trust: Trust,
    /// The working directory, absolute.
    pub working_directory: PathBuf,
    /// The directory of the user's own bottles, if there is one.
    pub home_bottles: Option<PathBuf>,
    /// The directory of the user's own presets, if there is one.
    pub home_presets: Option<PathBuf>,
    /// The user's home directory, absolute: what Compose puts in the place of `~`.
    pub home: Option<PathBuf>,
}

/// A manifest with what is needed to speak of it.
#[derive(Debug)]
pub struct Loaded {
    /// The manifest; `extends` is resolved.
    pub manifest: Manifest,
    /// The files it was read from.
    pub sources: Sources,
    /// The directory of each file, absolute, in the order of the files.
    directories: Vec<(FileId, PathBuf)>,
    home: Option<PathBuf>,
    /// The directories of the user's own bottles and presets.
    own: Vec<PathBuf>,
    /// What the lock file of the images holds, or why it can't be read.
    lock: Option<Result<Vec<u8>, String>>,
    /// The presets in directories, by the place that names them.
    presets: Presets,
}

impl Loaded {
    /// The directory that relative paths written in a file start from.
    pub fn directory(&self, file: FileId) -> &Path {
        self.directories.iter().find(|(id, _)| *id == file).map_or(Path::new("/"), |(_, directory)| directory)
    }

    /// The user's home directory, where it is known.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The directories of the user's own bottles and presets.
    pub(crate) fn own(&self) -> &[PathBuf] {
        &self.own
    }

    /// The user's home directory, where the file is one of their own bottles: paths from it are written with `~`, since
    /// the way there differs between machines.
    pub fn home_of(&self, file: FileId) -> Option<&Path> {
        self.home.as_deref().filter(|_| self.sources.name(file).starts_with(HOME))
    }

    /// The files that the manifest was read from, where they are files: the directory, absolute, and the name.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        let named =
            self.directories.iter().map(|(id, directory)| (directory.as_path(), self.sources.name(*id)));
        named.filter(|(_, name)| *name != STDIN)
    }

    /// Where the lock file of the images is, where the manifest names one.
    pub(crate) fn lock_path(&self) -> Option<PathBuf> {
        let digests = self.manifest.images.as_ref()?.digests.as_ref()?;
        let HostPath { base, rest } = &digests.value;
        let base = match base {
            PathBase::File => self.directory(digests.span.file),
            PathBase::Root => Path::new("/"),
            PathBase::Home => self.home.as_deref()?,
        };
        Some(lexically_normal(&base.join(rest)))
    }

    /// What the lock file of the images holds, or why it can't be read. None where there is no such file to be had.
    pub(crate) fn lock(&self) -> Option<Result<&[u8], &str>> {
        self.lock.as_ref().map(|lock| lock.as_deref().map_err(String::as_str))
    }

    /// The preset that an agent names; that of a directory was read with the manifest.
    pub fn preset(&self, named: &Spanned<Preset>) -> Arc<presets::Preset> {
        let known = match &named.value {
            Preset::Named(name) => Some(presets::find(*name)),
            Preset::Directory { .. } | Preset::Home(_) => self
                .presets
                .iter()
                .find(|(span, _)| *span == named.span)
                .map(|(_, preset)| Arc::clone(preset)),
        };
        known.unwrap_or_default()
    }

    /// Wraps what a later phase found wrong.
    pub fn diagnostics(self, list: Vec<Diagnostic>) -> Diagnostics {
        Diagnostics { sources: self.sources, list }
    }
}

/// Loads a manifest. All errors of the phase are reported together.
///
/// # Errors
///
/// What can't be read, isn't YAML, has unknown, duplicate or missing keys or wrong values, or extends what isn't there.
pub fn load(options: &Options) -> Result<Loaded, Diagnostics> {
    let mut loader = Loader {
        options,
        sources: Sources::default(),
        directories: Vec::new(),
        presets: Presets::new(),
        errors: Vec::new(),
    };
    let manifest = loader.manifest();
    let Loader { sources, directories, presets, mut errors, .. } = loader;
    match manifest {
        Some(manifest) if errors.is_empty() => {
            let (home, own) = (options.home.clone(), [&options.home_bottles, &options.home_presets]);
            let own = own.into_iter().flatten().cloned().collect();
            let mut result = Loaded { manifest, sources, directories, home, own, lock: None, presets };
            // A text from elsewhere has no files beside it.
            if !matches!(options.input, Input::Text { .. }) {
                result.lock = result.lock_path().map(|path| {
                    fs::read_regular(&path, MAX_LOCK, Links::Followed).map_err(|error| error.to_string())
                });
            }
            Ok(result)
        }
        _ => {
            said_once(&mut errors);
            errors.sort_by_key(|error| error.span.map(|span| span.start));
            Err(Diagnostics { sources, list: errors })
        }
    }
}

struct Loader<'a> {
    options: &'a Options,
    sources: Sources,
    directories: Vec<(FileId, PathBuf)>,
    presets: Presets,
    errors: Vec<Diagnostic>,
}

impl Loader<'_> {
    fn manifest(&mut self) -> Option<Manifest> {
        let (name, directory, text) = match self.read() {
            Ok(read) => read,
            Err(error) => {
                self.errors.push(error);
                return None;
            }
        };
        let root = self.parse(name, directory, text)?;
        let root = self.with_bottles(root);
        let mut decoder = Decoder::default();
        let manifest = Manifest::decode(&root, &mut decoder);
        self.errors.append(&mut decoder.errors);
        self.check_trust(manifest.as_ref());
        if self.errors.is_empty() {
            self.presets(manifest.as_ref());
        }
        manifest
    }

    /// The name for messages, the directory, and the text.
    fn read(&self) -> Result<(String, PathBuf, Vec<u8>), Diagnostic> {
        let failed = |error: &dyn fmt::Display| Diagnostic::without_place(error.to_string());
        let working_directory = &self.options.working_directory;
        let path = match &self.options.input {
            Input::Stdin => {
                let mut text = Vec::new();
                std::io::stdin().read_to_end(&mut text).map_err(|error| {
                    failed(&format_args!("could not read the manifest from standard input: {error}"))
                })?;
                return Ok((STDIN.to_owned(), working_directory.clone(), text));
            }
            Input::Text { name, directory, bytes, files: _ } => {
                return Ok((name.clone(), lexically_normal(directory), bytes.clone()));
            }
            Input::File(path) => working_directory.join(path),
            Input::Discover => discover(working_directory).ok_or_else(|| {
                Diagnostic::without_place(format!("there is no `{FILE_NAME}` here or in a directory above"))
                    .hint("write one, or name a file with `-f FILE`")
            })?,
        };
        let text = fs::read(&path).map_err(|error| failed(&error))?;
        let directory = path.parent().unwrap_or(working_directory).to_owned();
        // Only the last part: the same manifest gives the same bytes in any directory.
        let name =
            path.file_name().map_or_else(|| FILE_NAME.to_owned(), |name| shown(&name.to_string_lossy()));
        Ok((name, lexically_normal(&directory), text))
    }

    fn parse(&mut self, name: String, directory: PathBuf, bytes: Vec<u8>) -> Option<Node> {
        let (text, not_utf8) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(at))
            }
        };
        let file = self.sources.add(name, text);
        self.directories.push((file, directory));
        if let Some(start) = not_utf8 {
            let end = start + char::REPLACEMENT_CHARACTER.len_utf8();
            self.errors.push(
                Diagnostic::new(Span { file, start, end }, "this is not UTF-8")
                    .hint("save the file as UTF-8"),
            );
            return None;
        }
        match node::parse(file, self.sources.text(file)) {
            Ok(root) => Some(root),
            Err(mut errors) => {
                self.errors.append(&mut errors);
                None
            }
        }
    }

    /// The tree with every bottle that is needed in its `bottles`, each with what it inherits.
    fn with_bottles(&mut self, root: Node) -> Node {
        let Kind::Mapping(entries) = root.kind else { return root };
        let mut bottles = Bottles::new();
        let mut key = None;
        let mut kept = Vec::with_capacity(entries.len());
        for (name, node) in entries {
            match node.kind {
                Kind::Mapping(local) if name.value == "bottles" => {
                    for (name, node) in local {
                        if name.value.starts_with(HOME) {
                            self.errors.push(
                                Diagnostic::new(
                                    name.span,
                                    "a bottle of the manifest can't be called `home/…`",
                                )
                                .hint("that is how the bottles of your own configuration are named"),
                            );
                        } else {
                            bottles.add(name, node);
                        }
                    }
                    key = Some((name, node.span));
                }
                _ => kept.push((name, node)),
            }
        }
        let mut wanted: Vec<(String, Span)> = agents_bottles(&kept);
        wanted.extend(bottles.iter().filter_map(|(name, node)| extends::parent(&name.value, node)));
        while let Some((name, span)) = wanted.pop() {
            let Some(short) = name.strip_prefix(HOME) else { continue };
            if bottles.contains(&name) {
                continue;
            }
            match self.home_bottle(short, span) {
                Some(node) => {
                    wanted.extend(extends::parent(&name, &node));
                    bottles.add(Spanned::new(name, node.span), node);
                }
                None => bottles.refuse(span),
            }
        }
        let resolved = bottles.resolved(&mut self.errors);
        if let Some((key, span)) = key {
            kept.insert(0, (key, Node { kind: Kind::Mapping(resolved), span }));
        } else if !resolved.is_empty() && !kept.iter().any(|(key, _)| key.value == "bottles") {
            let key = Spanned::new("bottles".to_owned(), root.span);
            kept.insert(0, (key, Node { kind: Kind::Mapping(resolved), span: root.span }));
        }
        Node { kind: Kind::Mapping(kept), span: root.span }
    }

    fn home_bottle(&mut self, name: &str, span: Span) -> Option<Node> {
        if Name::parse(name).is_err() {
            return None; // The name itself is refused when it is decoded.
        }
        let Some(directory) = self.options.home_bottles.clone() else {
            self.errors.push(
                Diagnostic::new(
                    span,
                    format!("there is no home directory to look for the bottle `{}` in", shown(name)),
                )
                .hint("set HOME"),
            );
            return None;
        };
        let path = directory.join(format!("{name}.yaml"));
        match fs::read(&path) {
            Ok(text) => self.parse(format!("{HOME}{name}.yaml"), directory, text),
            Err(error) => {
                self.errors.push(Diagnostic::new(span, error.to_string()).hint(format!(
                    "`{HOME}NAME` is the file NAME.yaml in {}",
                    shown(&directory.to_string_lossy())
                )));
                None
            }
        }
    }

    /// Reads the presets that are directories. A manifest that isn't trusted names none by now.
    fn presets(&mut self, manifest: Option<&Manifest>) {
        let agents = manifest.and_then(|manifest| manifest.agents.as_ref());
        for named in agents.into_iter().flat_map(Map::iter).filter_map(|(_, agent)| agent.preset.as_ref()) {
            let (name, directory) = match &named.value {
                Preset::Named(_) => continue,
                Preset::Directory { text, path } => (text.clone(), self.preset_directory(path, named.span)),
                Preset::Home(name) => {
                    let directory = self.options.home_presets.as_ref().map(|all| all.join(name.as_str()));
                    (
                        format!("{HOME}{}", name.as_str()),
                        directory.ok_or_else(|| "there is no home directory".to_owned()),
                    )
                }
            };
            let revision = match (&self.options.input, &named.value) {
                (
                    Input::Text { files: Some(files), .. },
                    Preset::Directory { path: HostPath { base: PathBase::File, rest }, .. },
                ) => Some((files.clone(), rest.clone())),
                _ => None,
            };
            let read = move |file: &str| match &revision {
                Some((Revision(read), below)) => read(&format!("{below}/{file}")),
                None => preset::on_disk(directory.as_ref().map_err(Clone::clone)?, file),
            };
            let origin = preset::Origin { name: &name, span: Some(named.span), read: &read };
            let found = preset::read(&origin, &mut self.sources, &mut self.errors);
            self.presets.extend(found.map(|found| (named.span, Arc::new(found))));
        }
    }

    /// Where a preset is. A link on the way there that a repository brings could lead anywhere; one in a place that the user
    /// names from their home or from the root is the user's.
    fn preset_directory(&self, path: &HostPath, span: Span) -> Result<PathBuf, String> {
        let HostPath { base, rest } = path;
        match base {
            PathBase::Root => Ok(Path::new("/").join(rest)),
            PathBase::Home => {
                let home =
                    self.options.home.as_ref().ok_or_else(|| "there is no home directory".to_owned())?;
                Ok(home.join(rest))
            }
            PathBase::File => {
                let resolve = |path: &Path| fs::canonicalize(path).map_err(|error| error.source.to_string());
                let known = self.directories.iter().find(|(file, _)| *file == span.file);
                let directory = known.map_or(Path::new("/"), |(_, directory)| directory);
                let wanted = lexically_normal(&resolve(directory)?.join(rest));
                if resolve(&wanted)? == wanted {
                    Ok(wanted)
                } else {
                    Err("there is a symbolic link on the way".to_owned())
                }
            }
        }
    }

    fn check_trust(&mut self, manifest: Option<&Manifest>) {
        if self.options.trust != Trust::Home {
            return;
        }
        if let Some(images) = manifest.and_then(|manifest| manifest.images.as_ref()) {
            self.errors.push(
                Diagnostic::new(
                    images.registry.span,
                    "the manifest chooses the programs that hold your credentials, and only your own bottles are trusted",
                )
                .hint("take `images` out, so that Compose builds them, or leave out `--trust home` after reading the manifest"),
            );
        }
        let agents = manifest.and_then(|manifest| manifest.agents.as_ref());
        for (_, agent) in agents.into_iter().flat_map(Map::iter) {
            if let Some(Spanned { value: Preset::Directory { text, .. }, span }) = &agent.preset {
                self.errors.push(
                    Diagnostic::new(
                        *span,
                        format!("the manifest names the preset `{}`, and only your own are trusted", shown(text)),
                    )
                    .hint("use a preset of bottle's or `preset: home/NAME`, or leave out `--trust home` after reading its files"),
                );
            }
            if !agent.bottle.value.as_str().starts_with(HOME) {
                self.errors.push(
                    Diagnostic::new(
                        agent.bottle.span,
                        format!(
                            "the bottle `{}` is the manifest's own, and only your own are trusted",
                            agent.bottle.value.as_str()
                        ),
                    )
                    .hint("use `bottle: home/NAME`, or leave out `--trust home` after reading the manifest"),
                );
            }
        }
    }
}

/// The bottles that the agents name.
fn agents_bottles(entries: &[(Spanned<String>, Node)]) -> Vec<(String, Span)> {
    let agents = entries.iter().find(|(key, _)| key.value == "agents").map(|(_, node)| &node.kind);
    let Some(Kind::Mapping(agents)) = agents else { return Vec::new() };
    let bottle = |(_, agent): &(Spanned<String>, Node)| {
        let Kind::Mapping(entries) = &agent.kind else { return None };
        let (_, value) = entries.iter().find(|(key, _)| key.value == "bottle")?;
        match &value.kind {
            Kind::Scalar { text, .. } => Some((text.clone(), value.span)),
            _ => None,
        }
    };
    agents.iter().filter_map(bottle).collect()
}

/// The manifest in a directory or the nearest one above.
pub(crate) fn discover(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|directory| directory.join(FILE_NAME)).find(|path| path.is_file())
}

/// Takes `.` and `x/..` out of an absolute path, without looking at the disk.
pub(crate) fn lexically_normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}
