//! The destination given in flags: `setup` saves it; `send`, `ingest` and `flush` use it once.

use super::cli::{DestinationArguments, Region};
use super::{Answers, unusable};
use crate::system::terminal::hide;
use anyhow::Context as _;
use posthog_llma_pipeline::options::{ALLOW_CUSTOM_HOST, API_KEY, ApiKey, HOST};
use posthog_llma_pipeline::origin::Origin;
use std::io::{self, Read as _};

/// How many bytes to read for a key: many times the longest key.
const MAX_KEY_INPUT: u64 = 4096;

impl DestinationArguments {
    /// Do the flags include a project token?
    pub fn give_key(&self) -> bool {
        self.key_stdin || self.key_env.is_some()
    }

    /// Do the flags include an origin?
    pub fn give_host(&self) -> bool {
        self.host.is_some() || self.region.is_some()
    }

    /// The flags as variables and their values, using this process's environment and standard input.
    pub fn of_process(&self) -> anyhow::Result<Answers> {
        self.answers(|name| std::env::var(name).ok(), io::stdin())
    }

    /// The flags as variables and their values.
    pub fn answers(&self, variable: impl Fn(&str) -> Option<String>, stdin: impl io::Read) -> anyhow::Result<Answers> {
        let mut answers = Answers::new();
        if let Some((text, from)) = self.key(variable, stdin)? {
            let key = ApiKey::parse(&text)
                .map_err(|error| unusable(format!("the token from {from} is not valid: {error}")))?;
            hide(Some(&key));
            answers.push((API_KEY, key.expose().to_owned()));
        }
        if let Some(region) = self.region {
            answers.push((HOST, origin(region).to_owned()));
        }
        if let Some(host) = &self.host {
            let host = Origin::parse(host, self.allow_custom_host).map_err(|error| {
                let is_custom = !self.allow_custom_host && Origin::parse(host, true).is_ok();
                let advice = if is_custom { " (or add --allow-custom-host)" } else { "" };
                unusable(format!("--host: {error}{advice}"))
            })?;
            answers.push((HOST, host.to_string()));
            if self.allow_custom_host {
                answers.push((ALLOW_CUSTOM_HOST, "true".to_owned()));
            }
        }
        Ok(answers)
    }

    /// The key as given, and its source.
    fn key(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        stdin: impl io::Read,
    ) -> anyhow::Result<Option<(String, &str)>> {
        if self.key_stdin {
            let mut text = String::new();
            stdin.take(MAX_KEY_INPUT).read_to_string(&mut text).context("cannot read the token from standard input")?;
            return Ok(Some((text, "standard input")));
        }
        let Some(name) = &self.key_env else { return Ok(None) };
        let value = variable(name).ok_or_else(|| {
            unusable(format!(
                "--key-env {name}: this variable is not set in the environment; export it, or use --key-stdin"
            ))
        })?;
        Ok(Some((value, name)))
    }
}

/// The origin of a region of PostHog Cloud.
pub fn origin(region: Region) -> &'static str {
    match region {
        Region::Us => "https://us.i.posthog.com",
        Region::Eu => "https://eu.i.posthog.com",
    }
}
