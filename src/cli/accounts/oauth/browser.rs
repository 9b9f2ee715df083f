//! The person's browser: the link for it, and opening it where there is one.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use url::Url;

use crate::cli::output::printable;
use crate::cli::session::PASSWORD_VARIABLE;
use crate::lexicon::Authority;

/// What the person is told to do.
pub(super) fn invitation(who: &Authority, pds: &str, page: &Url, callback: &str, wait: Duration) -> String {
    format!(
        "{} is at {pds}. Log in there, and allow what this page asks for:\n\n  {page}\n\n\
         Waiting at {callback} for {} minutes; Ctrl-C ends it.",
        printable(&who.to_string()),
        wait.as_secs() / 60,
    )
}

/// Opens a page. That there is no browser, or that it does not start, is no failure: the person has the link.
pub(super) fn open(page: &Url) {
    let Some((program, arguments)) = opener(|name| std::env::var_os(name)) else { return };
    let mut command = Command::new(program);
    command.args(arguments).arg(page.as_str());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Nothing that a browser starts needs it.
    command.env_remove(PASSWORD_VARIABLE);
    // It outlives this program: Ctrl-C at this terminal is not for it.
    #[cfg(unix)]
    command.process_group(0);
    let _ = command.spawn();
}

/// What opens pages here. Where nothing shows windows, a browser in the terminal would start over what stands there.
fn opener(variable: impl Fn(&str) -> Option<OsString>) -> Option<(&'static str, &'static [&'static str])> {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    match () {
        () if cfg!(target_os = "macos") => Some(("open", &[])),
        () if cfg!(windows) => Some(("rundll32", &["url.dll,FileProtocolHandler"])),
        () if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") => Some(("xdg-open", &[])),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_browser_is_opened_where_there_are_windows() {
        let with = |set: &str, value: &str| {
            let (set, value) = (set.to_owned(), value.to_owned());
            opener(move |name| (name == set).then(|| value.clone().into())).map(|(program, _)| program)
        };
        assert_eq!(with("DISPLAY", ":0"), Some("xdg-open"));
        assert_eq!(with("WAYLAND_DISPLAY", "wayland-0"), Some("xdg-open"));
        assert_eq!(with("DISPLAY", ""), None);
        assert_eq!(with("TERM", "xterm"), None);
    }

    #[test]
    fn the_person_is_told_where_to_go_and_how_long() {
        let who = Authority::parse("alice.example.com").unwrap();
        let page = Url::parse("https://as.example.com/authorize?request_uri=x").unwrap();
        let told = invitation(
            &who,
            "pds.example.com",
            &page,
            "http://127.0.0.1:4/callback",
            Duration::from_secs(600),
        );
        assert_eq!(
            told,
            "alice.example.com is at pds.example.com. Log in there, and allow what this page asks for:\n\n  \
             https://as.example.com/authorize?request_uri=x\n\n\
             Waiting at http://127.0.0.1:4/callback for 10 minutes; Ctrl-C ends it."
        );
    }
}
