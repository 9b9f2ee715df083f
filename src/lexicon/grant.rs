//! `at.functions.grant`: one caller may run one function whose record says `public: false`.

use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use ipld_core::ipld::Ipld;
use sha2::{Digest, Sha256};

use super::datetime::since_epoch;
use super::{FUNCTION_COLLECTION, RecordKey};
use crate::identity::Did;

/// The collection of grants.
pub const GRANT_COLLECTION: &str = "at.functions.grant";

/// What a grant is about: a function of the repo that it stands in, and a caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrantSubject {
    /// The author of the function and the owner of the repo.
    pub author: Did,
    /// The key of the function's record.
    pub function: RecordKey,
    /// Who may run it.
    pub caller: Did,
}

impl GrantSubject {
    /// The function's at-uri, with its author's DID as authority, as grants name it.
    pub fn function_uri(&self) -> String {
        format!("at://{}/{FUNCTION_COLLECTION}/{}", self.author, self.function)
    }

    /// The only record key under which the grant holds, so that one proved read finds it, or proves that
    /// there is none: lowercase unpadded base32 of SHA-256 over the at-uri, a zero byte and the caller's DID.
    pub fn record_key(&self) -> RecordKey {
        let mut hash = Sha256::new();
        hash.update(self.function_uri());
        hash.update([0]);
        hash.update(self.caller.as_str());
        let key = BASE32_NOPAD.encode(&hash.finalize()).to_ascii_lowercase();
        // 52 letters and digits are a record key.
        RecordKey::parse(&key).expect("base32 is a record key")
    }
}

/// A grant that was proved to stand in its author's repo, for the subject that it was looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Since the Unix epoch; none if it holds until it is deleted.
    expires_at: Option<Duration>,
}

impl Grant {
    /// What the record under [`GrantSubject::record_key`] of `subject` grants it: nothing unless it is a
    /// whole grant of the very same subject.
    pub fn from_record(record: &Ipld, subject: &GrantSubject) -> Result<Grant, InvalidGrant> {
        let Ipld::Map(fields) = record else { return Err(InvalidGrant("record")) };
        let text = |field: &'static str| match fields.get(field) {
            Some(Ipld::String(text)) => Ok(text.as_str()),
            _ => Err(InvalidGrant(field)),
        };
        let is = |field: &'static str, expected: &str| match text(field)? == expected {
            true => Ok(()),
            false => Err(InvalidGrant(field)),
        };
        is("$type", GRANT_COLLECTION)?;
        is("function", &subject.function_uri())?;
        is("caller", subject.caller.as_str())?;
        since_epoch(text("createdAt")?).ok_or(InvalidGrant("createdAt"))?;
        let expires_at = match fields.contains_key("expiresAt") {
            true => Some(since_epoch(text("expiresAt")?).ok_or(InvalidGrant("expiresAt"))?),
            false => None,
        };
        Ok(Grant { expires_at })
    }

    /// Whether it still holds at `now`, which counts from the Unix epoch.
    pub fn holds(&self, now: Duration) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// A record that grants nothing; the name of the field that is missing or is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {0:?} of the grant is missing or is not what it must be")]
pub struct InvalidGrant(pub &'static str);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::repo::json_to_ipld;

    fn subject() -> GrantSubject {
        GrantSubject {
            author: Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap(),
            function: RecordKey::parse("echo").unwrap(),
            caller: Did::parse("did:web:caller.example.com").unwrap(),
        }
    }

    fn record() -> Value {
        json!({
            "$type": "at.functions.grant",
            "function": "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/at.functions.metadata/echo",
            "caller": "did:web:caller.example.com",
            "createdAt": "2026-01-01T00:00:00Z",
        })
    }

    fn read(record: &Value) -> Result<Grant, InvalidGrant> {
        Grant::from_record(&json_to_ipld(record).unwrap(), &subject())
    }

    #[test]
    fn the_key_is_the_hash_of_function_and_caller() {
        // printf 'at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/at.functions.metadata/echo\0did:web:caller.example.com' |
        // openssl dgst -sha256 -binary | base32 | tr -d '=' | tr A-Z a-z
        assert_eq!(subject().record_key().as_str(), "pacgpim34hv3ktvtcryqw6b5xqaw5lwa7w2tqlpskmitrbvxzltq");
    }

    #[test]
    fn a_whole_record_grants() {
        let grant = read(&record()).unwrap();
        assert!(grant.holds(Duration::ZERO));
        assert!(grant.holds(Duration::MAX));
    }

    #[test]
    fn it_ends_when_it_says() {
        let mut ending = record();
        ending["expiresAt"] = json!("2026-01-01T01:00:00+01:00");
        let grant = read(&ending).unwrap();
        let end = Duration::from_secs(1_767_225_600);
        assert!(grant.holds(end - Duration::from_millis(1)));
        assert!(!grant.holds(end));
        assert!(!grant.holds(end + Duration::from_secs(1)));
    }

    #[test]
    fn anything_else_grants_nothing() {
        let other_function = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/at.functions.metadata/Echo";
        let other_author = "at://did:web:other.example.com/at.functions.metadata/echo";
        let by_handle = "at://alice.example.com/at.functions.metadata/echo";
        for (field, value) in [
            ("$type", json!("at.functions.metadata")),
            ("function", json!(other_function)),
            ("function", json!(other_author)),
            ("function", json!(by_handle)),
            ("function", json!([])),
            ("caller", json!("did:web:Caller.example.com")),
            ("caller", json!("did:web:other.example.com")),
            ("caller", json!("*")),
            ("caller", json!(null)),
            ("createdAt", json!("yesterday")),
            ("createdAt", json!(0)),
            ("expiresAt", json!("never")),
            ("expiresAt", json!("")),
            ("expiresAt", json!(null)),
            ("expiresAt", json!(4_102_444_800_u64)),
        ] {
            let mut wrong = record();
            wrong[field] = value;
            assert_eq!(read(&wrong), Err(InvalidGrant(field)), "{wrong}");
        }
        for field in ["$type", "function", "caller", "createdAt"] {
            let mut without = record();
            without.as_object_mut().unwrap().remove(field);
            assert_eq!(read(&without), Err(InvalidGrant(field)));
        }
        assert_eq!(read(&json!(["at.functions.grant"])), Err(InvalidGrant("record")));
    }
}
