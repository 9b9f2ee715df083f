//! Whether a version says that the code is another one.

use semver::Version;

/// Why changed code may not go out under `new` where `old` is deployed, if so: two codes under one version are told apart by
/// nobody who reads versions.
pub(super) fn fault(old: &str, new: &str) -> Option<String> {
    let other = match (Version::parse(old), Version::parse(new)) {
        (Ok(old), Ok(new)) if new.cmp_precedence(&old).is_gt() => return None,
        (Ok(old), _) if old.pre.is_empty() => {
            format!(" (to {}, say)", Version::new(old.major, old.minor, old.patch.saturating_add(1)))
        }
        (Ok(old), _) => format!(" (to {}, say)", Version::new(old.major, old.minor, old.patch)),
        // One of them is no semantic version: that they differ is all that can be asked.
        (Err(_), _) if old != new => return None,
        (Err(_), _) => String::new(),
    };
    Some(format!(
        "other code is deployed as {}: raise the version{other}, or give --same-version",
        crate::cli::error::shown(old)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_higher_than_the_one_before() {
        for (old, new) in [
            ("0.1.0", "0.1.1"),
            ("0.9.0", "0.10.0"),
            ("1.0.0-rc.1", "1.0.0"),
            ("1.0.0-rc.1", "1.0.0-rc.2"),
            ("one", "two"),
            ("2024-01", "1.0.0"),
        ] {
            assert_eq!(fault(old, new), None, "{old} -> {new}");
        }
        for (old, new, hint) in [
            ("0.1.0", "0.1.0", "(to 0.1.1, say)"),
            ("0.10.0", "0.9.0", "(to 0.10.1, say)"),
            ("1.0.0", "1.0.0-rc.1", "(to 1.0.1, say)"),
            ("1.0.0-rc.2", "1.0.0-rc.1", "(to 1.0.0, say)"),
            ("1.0.0+a", "1.0.0+b", "(to 1.0.1, say)"),
            ("1.0.0", "two", "(to 1.0.1, say)"),
            ("one", "one", "raise the version, or"),
        ] {
            let told = fault(old, new).unwrap();
            assert!(told.contains(hint) && told.contains("--same-version"), "{old} -> {new}: {told}");
        }
    }
}
