//! `invoke`: one call of a function, by one of three ways to the service.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use http::Response;
use ipld_core::cid::Cid;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Tools;
use super::client::{Budget, host_of};
use super::describe::at_uri;
use super::error::CliError;
use super::files::{self, STDIN};
use super::locate::NetworkArgs;
use super::output::{self, Report};
use super::session::LoginArgs;
use super::usage::InForce;
use super::verdict;
use super::way::{self, Choice, DESCRIBE, Way};
use crate::idempotency::{IdempotencyKey, InvalidKey};
use crate::identity::ServiceRef;
use crate::lexicon::AtUri;

/// The method that runs a function.
const RUN: &str = "at.functions.run";
/// How long the limits are waited for once there is an answer to be shown.
const LIMITS_WAIT: Duration = Duration::from_secs(2);
/// The most that an operator can let a service take.
const MAX_INPUT_BYTES: u64 = 10 * 1024 * 1024;
/// Call a function and print its output.
///
/// By default the call goes through your own PDS, which signs it as you and hands it to the service.
/// --direct gets a token from your PDS for this one call and takes it to the service itself;
/// --anonymous takes nothing along, for services that allow it.
///
/// The output goes to stdout as JSON; what it used beside the limits in force goes to stderr. For the limits the service
/// is asked a second question (at.functions.describe), which counts as a call; with --json nothing but the call is sent.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  export AT_FUNCTIONS_SERVICE=did:web:functions.example.com#at_functions
  at-functions invoke at://alice.example.com/at.functions.metadata/echo --input '{\"a\": 1}'
  at-functions invoke at://alice.example.com/at.functions.metadata/echo --input @call.json --direct
  at-functions invoke at://alice.example.com/at.functions.metadata/echo --anonymous --input -
  at-functions invoke at://alice.example.com/at.functions.metadata/echo --cid bafyrei... --json
  at-functions invoke at://alice.example.com/at.functions.metadata/echo --idempotency-key order-17

With a password in AT_FUNCTIONS_PASSWORD or --password-file, each call that is not anonymous logs in, and a
PDS allows about 300 logins a day. After `at-functions login`, none does.

",
    exit_codes!()
))]
pub(super) struct InvokeArgs {
    /// The function: at://AUTHOR/at.functions.metadata/KEY
    #[arg(value_name = "AT_URI", value_parser = at_uri)]
    function: AtUri,
    /// The input: JSON, @FILE, or - for stdin
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}")]
    input: String,
    /// The service that runs it: did:web:HOST, with #ID if it is not at_functions
    #[arg(long, env = "AT_FUNCTIONS_SERVICE", value_name = "DID[#ID]", value_parser = service)]
    service: Option<ServiceRef>,
    /// Run this version of the record and no other
    #[arg(long, value_name = "RECORD_CID", value_parser = cid)]
    cid: Option<Cid>,
    /// Name the call: sending it again under this name, with the same input, brings its first answer for 24 hours
    #[arg(long, value_name = "KEY", value_parser = idempotency_key, conflicts_with = "anonymous")]
    idempotency_key: Option<IdempotencyKey>,
    /// Take the call to the service yourself, with a token from your PDS
    #[arg(long)]
    direct: bool,
    /// Take the call to the service without saying who you are
    #[arg(long, conflicts_with = "direct")]
    anonymous: bool,
    /// Print the service's whole answer as it came, errors too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Parses the name of a service.
pub(super) fn service(text: &str) -> Result<ServiceRef, String> {
    ServiceRef::parse(text).map_err(|error| {
        format!(
            "{error}; expected did:web:functions.example.com or did:web:functions.example.com#at_functions"
        )
    })
}

fn cid(text: &str) -> Result<Cid, String> {
    Cid::try_from(text).map_err(|_| "expected a CID such as bafyrei..., as `describe` shows it".to_owned())
}

fn idempotency_key(text: &str) -> Result<IdempotencyKey, InvalidKey> {
    IdempotencyKey::parse(text.as_bytes())
}

/// The body of `at.functions.run`; the input goes out byte for byte.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    function: String,
    input: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

/// Runs the command.
pub(super) async fn invoke(tools: &Tools, args: InvokeArgs) -> Result<Report, CliError> {
    if args.input == STDIN && args.login.password_file.as_deref() == Some(Path::new(STDIN)) {
        return Err(CliError::setting("--password-file", "stdin is the input already: give a file"));
    }
    let input = input(&args.input).await?;
    let call = Call {
        function: args.function.to_string(),
        input: &input,
        cid: args.cid.map(|cid| cid.to_string()),
        idempotency_key: args.idempotency_key.as_ref().map(IdempotencyKey::to_string),
    };
    // Strings and checked JSON always serialise.
    let body = serde_json::to_vec(&call).map_err(|error| CliError::setting("--input", error))?;
    let Some(service) = &args.service else {
        let why = "give the service that runs it, such as did:web:functions.example.com, or set AT_FUNCTIONS_SERVICE";
        return Err(CliError::setting("--service", why));
    };
    let InvokeArgs { direct, anonymous, ref login, ref network, .. } = args;
    let limits_method = (!args.json).then_some(DESCRIBE);
    let choice = Choice { method: RUN, also: limits_method, direct, anonymous, login, network };
    let way = way::to(tools, &choice, service).await?;
    let request = way.procedure(RUN, body)?;
    let answering = way.send(tools, request, Budget::CALL);
    let (answer, limits) = if args.json {
        (answering.await?, None)
    } else {
        with_limits(tools, &way, &args.function, answering).await?
    };
    let (status, body) = (answer.status().as_u16(), answer.into_body());
    Ok(verdict::report(&host_of(&way.server), status, body, limits.as_ref(), args.json))
}

/// The answer, and the limits in force, which are asked for while it is waited for, and are nothing to fail for.
async fn with_limits(
    tools: &Tools,
    way: &Way,
    function: &AtUri,
    answering: impl Future<Output = Result<Response<Vec<u8>>, CliError>>,
) -> Result<(Response<Vec<u8>>, Option<InForce>), CliError> {
    let asking = async {
        let described = way.send_also(tools, way.description(function).ok()?, Budget::CALL).await.ok()?;
        InForce::parse(described.body())
    };
    let mut asking = std::pin::pin!(asking);
    let mut answering = std::pin::pin!(answering);
    tokio::select! {
        answer = &mut answering => {
            let limits = tokio::time::timeout(LIMITS_WAIT, asking).await;
            Ok((answer?, limits.ok().flatten()))
        }
        limits = &mut asking => Ok((answering.await?, limits)),
    }
}

/// The input as JSON text.
pub(super) async fn input(given: &str) -> Result<Box<RawValue>, CliError> {
    let (what, text) = match given.strip_prefix('@') {
        Some(path) => (format!("--input {given}"), files::read(Path::new(path), MAX_INPUT_BYTES).await?),
        None if given == STDIN => ("stdin".to_owned(), files::read(Path::new(STDIN), MAX_INPUT_BYTES).await?),
        None => ("--input".to_owned(), given.as_bytes().to_vec()),
    };
    if text.len() as u64 > MAX_INPUT_BYTES {
        let why = format!("larger than the {} MiB that a service takes", MAX_INPUT_BYTES >> 20);
        return Err(CliError::setting(what, why));
    }
    let read = serde_json::from_slice(&text);
    read.map_err(|error| {
        let hint = match given.starts_with(['{', '[', '"', '@', '-']) {
            true => String::new(),
            false => format!("; a text has quotes of its own, '\"{given}\"', and a file is @FILE"),
        };
        CliError::setting(what, format!("not JSON: {error}{}", output::printable(&hint)))
    })
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::super::{Command, parse};
    use super::*;

    const FUNCTION: &str = "at://did:web:a.com/at.functions.metadata/echo";

    fn args(arguments: &[&str]) -> Result<InvokeArgs, clap::Error> {
        match parse(&[&["invoke", FUNCTION, "--service", "did:web:fn.example.com"], arguments].concat())? {
            Command::Invoke(args) => Ok(*args),
            _ => unreachable!("invoke was asked for"),
        }
    }

    #[test]
    fn a_service_without_an_id_is_the_usual_one() {
        assert_eq!(args(&[]).unwrap().service.unwrap().to_string(), "did:web:fn.example.com#at_functions");
    }

    #[test]
    fn arguments_that_cannot_be_meant_are_refused() {
        let kind = |arguments: &[&str]| parse(arguments).err().unwrap().kind();
        assert_eq!(kind(&["invoke", FUNCTION, "--service", "fn.example.com"]), ErrorKind::ValueValidation);
        assert_eq!(
            kind(&["invoke", "at://a.com/x", "--service", "did:web:a.com"]),
            ErrorKind::ValueValidation
        );
        assert_eq!(args(&["--cid", "nonsense"]).err().unwrap().kind(), ErrorKind::ValueValidation);
        let key = |key: &str| args(&["--idempotency-key", key]).err().unwrap().kind();
        assert_eq!((key("a b"), key("")), (ErrorKind::ValueValidation, ErrorKind::ValueValidation));
        let named = ["--idempotency-key", "k", "--anonymous"];
        assert_eq!(args(&named).err().unwrap().kind(), ErrorKind::ArgumentConflict);
        assert_eq!(args(&["--direct", "--anonymous"]).err().unwrap().kind(), ErrorKind::ArgumentConflict);
    }

    #[tokio::test]
    async fn the_input_goes_out_as_it_was_given() {
        let odd = r#"{"b": 1.50, "a": 1e400}"#;
        let raw = input(odd).await.unwrap();
        let call = Call { function: FUNCTION.to_owned(), input: &raw, cid: None, idempotency_key: None };
        let expected = format!(r#"{{"function":"{FUNCTION}","input":{odd}}}"#);
        assert_eq!(serde_json::to_string(&call).unwrap(), expected);
        let pinned = Call { cid: Some("bafy".to_owned()), ..call };
        assert!(serde_json::to_string(&pinned).unwrap().ends_with(r#","cid":"bafy"}"#));
        let named = Call { idempotency_key: Some("k-1".to_owned()), ..pinned };
        let expected = r#","cid":"bafy","idempotencyKey":"k-1"}"#;
        assert!(serde_json::to_string(&named).unwrap().ends_with(expected));
    }

    #[tokio::test]
    async fn the_input_comes_from_a_file_after_an_at_sign() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.json");
        std::fs::write(&path, " [1] \n").unwrap();
        assert_eq!(input(&format!("@{}", path.display())).await.unwrap().get(), "[1]");
        assert!(matches!(input("@/nonexistent/x").await, Err(CliError::File { .. })));
    }

    #[tokio::test]
    async fn an_input_that_is_not_json_is_told_with_its_place() {
        let error = input("{'a': 1}").await.unwrap_err().to_string();
        assert_eq!(error, "--input: not JSON: key must be a string at line 1 column 2");
        assert!(input("").await.is_err());
        assert!(input("1 2").await.is_err());
    }
}
