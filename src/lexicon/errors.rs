//! The names of errors that callers can get.

/// Every error of `at.functions.run`, in the order of its lexicon; those of the other methods are among
/// them. They are labels of metrics, and a name that is not here would be a series that nobody expects.
pub const ERRORS: [&str; 28] = [
    "InvalidRequest",
    "FunctionNotFound",
    "InvalidFunction",
    "InvalidInput",
    "FunctionChanged",
    "IdempotencyKeyReuse",
    "AuthMissing",
    "BadJwt",
    "BadJwtType",
    "JwtExpired",
    "BadJwtAudience",
    "BadJwtLexiconMethod",
    "BadJwtIss",
    "BadJwtSignature",
    "JwtReplayed",
    "CallerBlocked",
    "FunctionBlocked",
    "FunctionNotPublic",
    "AuthorInactive",
    "PayloadTooLarge",
    "UnsupportedMediaType",
    "RateLimitExceeded",
    "MethodNotImplemented",
    "IssuerUnreachable",
    "RepoUnreachable",
    "UnverifiedFunction",
    "NotEnoughResources",
    "RepoTimeout",
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn errors_of(lexicon: &str) -> Vec<String> {
        let lexicon: Value = serde_json::from_str(lexicon).unwrap();
        let errors = lexicon["defs"]["main"]["errors"].as_array().unwrap();
        errors.iter().map(|error| error["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn they_are_those_of_the_lexicons() {
        assert_eq!(errors_of(include_str!("../../lexicons/at.functions.run.json")), ERRORS);
        for name in errors_of(include_str!("../../lexicons/at.functions.describe.json")) {
            assert!(ERRORS.contains(&name.as_str()), "{name}");
        }
    }
}
