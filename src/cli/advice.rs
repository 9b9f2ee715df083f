//! What to do about an error that a PDS or service names. Their own message says what happened;
//! this says what the person at the terminal can do now.

/// Advice for an XRPC error. `message` tells apart what a PDS calls by one name.
pub(super) fn for_refusal(status: u16, name: &str, message: &str) -> Option<&'static str> {
    Some(match name {
        "AccountTakedown" | "RepoTakendown" => {
            "The account was taken down by its PDS; only its operator can help."
        }
        "AuthFactorTokenRequired" => {
            "The account's own password needs a code by e-mail: use an app password, which needs none."
        }
        "AuthMissing" => "This service takes no anonymous calls: leave out --anonymous and log in.",
        "AuthenticationRequired" => {
            "Check the handle, and use an app password (Settings, App Passwords) in AT_FUNCTIONS_PASSWORD or --password-file."
        }
        "AuthorInactive" => {
            "The author's account is deactivated or taken down; nothing of it runs until it is back."
        }
        "BadExpiration" | "JwtExpired" => "Check this machine's clock, then try again.",
        "BadJwtAudience" => "The token was made for another service: check --service.",
        "BadJwt" | "BadJwtType" | "BadJwtIss" | "BadJwtLexiconMethod" | "JwtReplayed" => {
            "Try again; if it stays, tell the service's operator what you see here."
        }
        "BadJwtSignature" => {
            "Your PDS signed with a key that your DID document does not name: try again in a minute, then ask your PDS's operator."
        }
        "CallerBlocked" => {
            "The service's operator does not take calls from your account: ask them, or use another service."
        }
        "ExpiredToken" | "InvalidToken" => "Log in again: check the app password, it may have been revoked.",
        "FunctionBlocked" => {
            "The service's operator does not run this function: ask them, or use another service."
        }
        "FunctionChanged" => {
            "The record is not the one you pinned: look at it with `at-functions describe`, and pin its CID if you trust it."
        }
        "FunctionNotFound" => "Check the at-uri: `at-functions list AUTHOR` shows what there is.",
        "FunctionNotPublic" => {
            "Its author can let you run it (`at-functions grant`), or make it public, with a deploy without --private."
        }
        "IdempotencyKeyReuse" => {
            "This key was sent with another input: send the same input, or another --idempotency-key."
        }
        "InvalidFunction" => "Only the author can mend this: the record or the code breaks a rule.",
        "InvalidInput" => "Look at the function's inputSchema with `at-functions describe`.",
        "InvalidSwap" => "The record changed in the meantime: look at it, then try again.",
        "IssuerUnreachable" => "The service could not look your account up: try again in a minute.",
        "MethodNotImplemented" => "Check --service and the at-uri: this host does not know how to run that.",
        "NotEnoughResources" => {
            "The service is busy, or still compiles the function: try again in a few seconds."
        }
        "PayloadTooLarge" => {
            "Make the input, file or schemas smaller; the message says the limit where the server states it."
        }
        "RateLimitExceeded" => "Wait, then try again.",
        "RecordNotFound" => "Check the at-uri: `at-functions list` shows what there is.",
        "RepoDeactivated" | "AccountDeactivated" => {
            "The account is deactivated; its owner can activate it again."
        }
        "RepoNotFound" => {
            "This PDS does not hold that account: check the handle or DID, and --pds if you gave it."
        }
        "RepoTimeout" | "RepoUnreachable" => {
            "The author's PDS does not answer the service: try again in a minute."
        }
        "ScopeMissingError" => {
            "This session may not do that: log in again and allow it, or use `at-functions login --app-password`."
        }
        "UnsupportedMediaType" => "Send JSON, plain or packed with gzip, deflate or br.",
        "UnverifiedFunction" => {
            "What the author's PDS sent does not prove itself, so it was not run: tell the author."
        }
        "UpstreamFailure" => {
            "Your PDS could not reach the service: check --service, try `at-functions did check HOST`, or --direct."
        }
        _ => return for_oauth(name).or_else(|| for_status(status, message)),
    })
}

/// Advice for an error of OAuth (RFC 6749, section 5.2; RFC 9449, section 5).
fn for_oauth(name: &str) -> Option<&'static str> {
    Some(match name {
        "invalid_client" | "invalid_client_metadata" | "unauthorized_client" => {
            "Your PDS takes no programs that people run themselves: use `at-functions login --app-password`."
        }
        "invalid_dpop_proof" | "use_dpop_nonce" => "Check this machine's clock, then try again.",
        "invalid_grant" => "The login took too long, or was used already: run it again.",
        "invalid_scope" => {
            "Your PDS does not know the permissions that are asked for: use `at-functions login --app-password`."
        }
        "invalid_token" => "The session has ended: log in again.",
        "temporarily_unavailable" => "Try again in a minute.",
        _ => return None,
    })
}

fn for_status(status: u16, message: &str) -> Option<&'static str> {
    Some(match status {
        // The PDS's own words for a service whose document it cannot use.
        400 if message.contains("proxy did") || message.contains("proxy header") => {
            "Check --service; `at-functions did check HOST` says whether a PDS can use its document."
        }
        401 => "Check the handle and the app password.",
        413 => "Make the input, file or schemas smaller.",
        429 => "Wait, then try again.",
        500 => {
            "A server failed. Through your PDS this is also what a broken service document looks like: try `at-functions did check HOST`."
        }
        502..=504 => "Try again in a minute.",
        _ => return None,
    })
}

/// Advice for a run that reached the guest and failed there. `message` tells what would let it pass.
pub(super) fn for_outcome(outcome: &str, message: &str) -> Option<&'static str> {
    // In the words of `policy::NotAllowed`, which the guest was told and passed on.
    if message.contains("it would need at://") && message.contains("in its allowedHosts") {
        return Some(
            "If the function is yours: add that entry to allowed-hosts in at-functions.toml (or deploy with --allow), and deploy.",
        );
    }
    Some(match outcome {
        "guestError" => "The function itself refused: check the input.",
        // A function without a name is told by its number.
        "trap" if message.contains("in function ") || message.contains("< function ") => {
            "The function crashed: tell its author which input did it. Built with names (without `strip`), it would say where."
        }
        "trap" => "The function crashed, where the message names it: tell its author which input did it.",
        "timeout" => {
            "Try a smaller input. If the function is yours: raise max-duration-ms in at-functions.toml (5000 at most), and deploy."
        }
        "memoryExceeded" => {
            "Try a smaller input. If the function is yours: raise max-memory-mb in at-functions.toml (256 at most), and deploy."
        }
        "outputInvalid" => "The function's output is not what its record promises: tell its author.",
        "outputTooLarge" => "Ask for less: the output is over the service's limit.",
        "hostCallLimit" => "The function reads more than a run may: ask for less.",
        "canceled" => "The run was cut short: try again.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_the_run_lexicon_has_advice() {
        // What is wrong with a request is in its message.
        for name in crate::lexicon::ERRORS.into_iter().filter(|name| *name != "InvalidRequest") {
            assert!(for_refusal(0, name, "").is_some(), "{name}");
        }
    }

    #[test]
    fn a_wrong_password_is_answered_with_app_passwords() {
        let advice = for_refusal(401, "AuthenticationRequired", "Invalid identifier or password").unwrap();
        assert!(advice.contains("app password"), "{advice}");
    }

    #[test]
    fn a_service_that_the_pds_cannot_resolve_is_answered_with_did_check() {
        let advice = for_refusal(400, "InvalidRequest", "could not resolve proxy did").unwrap();
        assert!(advice.contains("did check"), "{advice}");
        assert_eq!(for_refusal(400, "InvalidRequest", "other"), None);
    }

    #[test]
    fn a_failed_run_is_answered_with_what_would_let_it_pass() {
        let repo = crate::lexicon::Authority::parse("did:web:a.com").unwrap();
        let refused = crate::policy::NotAllowed::new(&repo, crate::policy::Read::Blob).to_string();
        assert!(for_outcome("guestError", &refused).unwrap().contains("allowed-hosts"), "{refused}");
        assert!(for_outcome("guestError", "no").unwrap().contains("check the input"));
        let nameless = for_outcome("trap", "unreachable, in inner < function 3").unwrap();
        assert!(nameless.contains("without `strip`"), "{nameless}");
        assert!(!for_outcome("trap", "unreachable, in inner < run").unwrap().contains("strip"));
        assert!(for_outcome("timeout", "").unwrap().contains("max-duration-ms"));
        assert_eq!(for_outcome("ok", ""), None);
    }
}
