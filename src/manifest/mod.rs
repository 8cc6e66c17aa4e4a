//! The manifest, `bottle.yaml`: its types, how it is loaded, and how a person is told what is wrong with it.

mod decode;
pub mod diagnostic;
mod extends;
mod load;
mod node;
pub mod preset;
mod schema;
pub mod source;
mod types;
pub mod values;

pub use decode::{List, Map, OneOrMany};
pub use load::{FILE_NAME, Input, Loaded, Options, Revision, Trust, load};
pub(crate) use load::{discover, lexically_normal};
pub use schema::schema;
pub use types::{
    Agent, Basic, Bottle, Credential, CredentialSource, Deny, Egress, Held, Images, Inject, Manifest,
    OnRefusal, OnRefusalWord, OnSecret, Operation, Pipelock, PipelockMode, Placeholder, Preset, PresetName,
    PushRule, Repository, Resources, Route, Scheme, Sidecars, Supervise, SuperviseOptions, True, Workspace,
};
