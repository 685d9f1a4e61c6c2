//! The commands that are more than a call of a module.

pub mod doctor;
pub mod flush;
pub mod ingest;
pub mod setup;
pub mod shell;
pub mod status;
pub mod view;

use std::borrow::Cow;

/// What is missing in the settings, or cannot be used: the user has to set it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub Cow<'static, str>);

impl Unusable {
    /// There is no project key.
    pub const NO_KEY: Self = Self(Cow::Borrowed(
        "POSTHOG_API_KEY is not set: it is the project key (phc_…), in the project's settings in PostHog",
    ));
}
