//! Why a function has no output.

use std::fmt;

/// Why a function has no output, in a text for the caller.
///
/// Any type with a [`Display`](fmt::Display) can be a function's error; this one is made of texts, so that `?` works on
/// `Option::ok_or("...")` and on [host calls](crate).
///
/// ```
/// use at_functions::Error;
///
/// fn first(text: &str) -> Result<char, Error> {
///     Ok(text.chars().next().ok_or("text: it is empty")?)
/// }
/// assert_eq!(first("").unwrap_err().to_string(), "text: it is empty");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error that says what `reason` says: `.map_err(Error::new)?`.
    ///
    /// ```
    /// # use at_functions::Error;
    /// let parsed = "x".parse::<u32>().map_err(Error::new);
    /// assert_eq!(parsed.unwrap_err().to_string(), "invalid digit found in string");
    /// ```
    pub fn new(reason: impl fmt::Display) -> Error {
        Error(reason.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(reason: String) -> Error {
        Error(reason)
    }
}

impl From<&str> for Error {
    fn from(reason: &str) -> Error {
        Error(reason.to_owned())
    }
}

impl From<serde_json::Error> for Error {
    fn from(reason: serde_json::Error) -> Error {
        Error::new(reason)
    }
}
