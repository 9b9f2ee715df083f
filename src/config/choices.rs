//! Settings that are one of a few words.

use clap::ValueEnum;
use serde::Deserialize;

/// What happens to calls without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// They are refused (401 `AuthMissing`).
    #[default]
    Deny,
    /// They may run public functions.
    Public,
}

/// What a function that declares no reads may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum UndeclaredReads {
    /// Any public repo.
    #[default]
    Any,
    /// Nothing.
    None,
}

/// Where guests run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// In threads of the service.
    #[cfg_attr(not(target_os = "linux"), default)]
    Thread,
    /// In sealed worker processes. Linux only.
    #[cfg_attr(target_os = "linux", default)]
    Process,
}

/// What happens to calls while the audit log cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AuditRule {
    /// They are refused (503 `NotEnoughResources`).
    #[default]
    Refuse,
    /// They are answered, and counted as missing from the log.
    Drop,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    #[serde(alias = "pretty")]
    #[value(alias = "pretty")]
    Text,
    /// One JSON object a line.
    Json,
}
