//! PKCE (RFC 7636): whoever brings the code for tokens shows that they asked for it.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use crate::cli::error::CliError;

/// A secret of this login, and what is told of it beforehand.
pub(super) struct Pkce {
    pub(super) verifier: String,
    /// The verifier's SHA-256, method `S256`.
    pub(super) challenge: String,
}

impl Pkce {
    pub(super) fn generate() -> Result<Pkce, CliError> {
        Ok(Pkce::of(random()?))
    }

    fn of(verifier: String) -> Pkce {
        let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(verifier.as_bytes()));
        Pkce { verifier, challenge }
    }
}

/// 256 random bits as text: 43 characters, the fewest that a verifier may have.
pub(super) fn random() -> Result<String, CliError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| CliError::setting("this machine", format!("it has no random numbers: {error}")))?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let pkce = Pkce::of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        assert_eq!(pkce.challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn each_login_has_a_secret_of_its_own() {
        let (one, two) = (Pkce::generate().unwrap(), Pkce::generate().unwrap());
        assert_eq!(one.verifier.len(), 43);
        assert_ne!(one.verifier, two.verifier);
    }
}
