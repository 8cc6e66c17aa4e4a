//! Published images of the sidecars: building, pushing, and the lock file with their digests.

mod build;
mod lock;

pub(crate) use build::{Context, build, digest, push};
pub(crate) use lock::is_ours;
pub use lock::{Invalid, Lock};

/// The directory below which an image's Dockerfile is, for each image, whose name begins with `bottle-`.
pub(crate) const IMAGES: [(&str, &str); 4] = [
    ("egress", crate::render::EGRESS),
    ("git-gate", crate::render::GIT_GATE),
    ("sidecars", crate::render::BUNDLE),
    ("supervise", crate::render::SUPERVISE),
];

/// An image's name without what says which of it is meant.
pub(crate) fn repository(registry: &str, image: &str) -> String {
    format!("{registry}/bottle-{image}")
}

/// An image of this version.
pub(crate) fn tagged(registry: &str, image: &str) -> String {
    format!("{}:{}", repository(registry, image), env!("CARGO_PKG_VERSION"))
}
