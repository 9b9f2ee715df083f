//! A function of one's own, as commands that change something take it.

use super::error::CliError;
use super::session::Session;
use crate::lexicon::{AtUri, Authority, FUNCTION_COLLECTION, RecordKey};

/// A record of the account that logs in.
#[derive(Clone)]
pub(super) enum Target {
    Uri(AtUri),
    Key(RecordKey),
}

/// Parses an at-uri, or the record's key alone.
pub(super) fn target(text: &str) -> Result<Target, String> {
    if text.starts_with("at://") {
        let uri = AtUri::parse(text).map_err(|error| error.to_string())?;
        if uri.collection.as_str() != FUNCTION_COLLECTION {
            return Err(format!(
                "not a function: the at-uri of one is at://AUTHORITY/{FUNCTION_COLLECTION}/RKEY"
            ));
        }
        return Ok(Target::Uri(uri));
    }
    RecordKey::parse(text).map(Target::Key).map_err(|error| error.to_string())
}

impl Target {
    /// The record's key, if the record is in the session's repo.
    pub(super) fn key_in(&self, session: &Session) -> Result<&RecordKey, CliError> {
        let uri = match self {
            Target::Key(key) => return Ok(key),
            Target::Uri(uri) => uri,
        };
        let own = match &uri.authority {
            Authority::Did(did) => *did == session.did,
            Authority::Handle(handle) => session.handle.as_ref() == Some(handle),
        };
        if own {
            return Ok(&uri.rkey);
        }
        let why = format!("it is not in your repo ({}): only its author can do that", session.did);
        Err(CliError::setting(uri.to_string(), why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_at_uri_of_a_function_or_a_key() {
        assert!(matches!(target("echo"), Ok(Target::Key(key)) if key.as_str() == "echo"));
        assert!(matches!(target("at://a.com/at.functions.metadata/echo"), Ok(Target::Uri(_))));
        for text in ["", "a b", "at://a.com/app.bsky.feed.post/k", "at://a.com/at.functions.metadata", "a/b"]
        {
            assert!(target(text).is_err(), "{text}");
        }
    }
}
