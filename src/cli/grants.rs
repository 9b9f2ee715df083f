//! `grant`, `ungrant`, `grants`: who else may run a function that is not public.

use std::time::Duration;

use atrium_api::com::atproto::repo::delete_record::NSID as DELETE_RECORD;
use atrium_api::com::atproto::repo::get_record::NSID as GET_RECORD;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Tools;
use super::client::{Xrpc, host_of};
use super::error::CliError;
use super::list::{self, Listed};
use super::locate::{self, NetworkArgs};
use super::output::{self, Report, printable};
use super::put;
use super::session::{self, AccountArgs, LoginArgs, Session, authority};
use super::target::{Target, target};
use crate::identity::Did;
use crate::lexicon::{AtUri, Authority, FUNCTION_COLLECTION, GRANT_COLLECTION, Grant, GrantSubject};
use crate::repo::json_to_ipld;

/// Let somebody run one of your functions that is not public.
///
/// Writes a record of at.functions.grant into your repo, where every service finds it by itself and
/// proves it. Everybody can read it there: that somebody may run a function is no secret.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions grant echo bob.example.com
  at-functions grant echo did:plc:ewvi7nxzyoun6zhxrhs64oiz --expires 30d
  at-functions grant at://alice.example.com/at.functions.metadata/echo bob.example.com --expires 2030-01-01T00:00:00Z

",
    exit_codes!()
))]
pub(super) struct GrantArgs {
    /// The function: its at-uri, or the key of its record (which `deploy` makes from the name)
    #[arg(value_name = "AT_URI|NAME", value_parser = target)]
    function: Target,
    /// Who may run it: a handle or DID. The DID is what is written, so a handle may change later
    #[arg(value_parser = authority)]
    caller: Authority,
    /// When it ends: after minutes, hours, days or weeks (90m, 12h, 30d, 8w), or at a moment
    /// (2030-01-01T00:00:00Z) [default: when it is taken back]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    expires: Option<When>,
    /// Print JSON: {uri, cid, function, caller, expiresAt}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Take a grant back.
///
/// Services stop letting the caller in within half a minute. It also takes back what has expired.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions ungrant echo bob.example.com

",
    exit_codes!()
))]
pub(super) struct UngrantArgs {
    /// The function: its at-uri, or the key of its record
    #[arg(value_name = "AT_URI|NAME", value_parser = target)]
    function: Target,
    /// Who may no longer run it: a handle or DID
    #[arg(value_parser = authority)]
    caller: Authority,
    /// Print JSON: {uri, function, caller, deleted}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// List the grants of an account.
///
/// Without REPO, your own. The list is what the account's PDS says: it is not proved. What a service
/// goes by, it proves first.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions grants
  at-functions grants alice.example.com --json

",
    exit_codes!()
))]
pub(super) struct GrantsArgs {
    /// A handle or DID
    #[arg(value_parser = authority)]
    repo: Option<Authority>,
    /// Print JSON: {repo, verified, complete, grants: [{uri, state, record}]}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// When a grant ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    After(Duration),
    At(jiff::Timestamp),
}

fn when(text: &str) -> Result<When, String> {
    let expected =
        || "expected a number with m, h, d or w, such as 30d, or a moment such as 2030-01-01T00:00:00Z";
    let unit = match text.char_indices().last() {
        Some((_, 'm')) => 60,
        Some((_, 'h')) => 3_600,
        Some((_, 'd')) => 86_400,
        Some((_, 'w')) => 7 * 86_400,
        _ => return text.parse().map(When::At).map_err(|_| expected().to_owned()),
    };
    let number = text[..text.len() - 1].parse::<u32>().map_err(|_| expected().to_owned())?;
    Ok(When::After(Duration::from_secs(u64::from(number) * unit)))
}

impl When {
    /// The moment, if it is to come.
    fn moment(self, now: Duration) -> Result<jiff::Timestamp, CliError> {
        let wrong = |why| CliError::setting("--expires", why);
        let at = |since_epoch: Duration| {
            i64::try_from(since_epoch.as_secs())
                .ok()
                .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        };
        let moment = match self {
            When::After(time) => {
                at(now.saturating_add(time)).ok_or_else(|| wrong("it is after the year 9999"))?
            }
            When::At(moment) => moment,
        };
        match at(now).is_none_or(|now| now < moment) {
            true => Ok(moment),
            false => Err(wrong("it is over already")),
        }
    }
}

/// Runs `grant`.
pub(super) async fn grant(tools: &Tools, args: GrantArgs) -> Result<Report, CliError> {
    #[derive(Deserialize)]
    struct Found {
        value: Value,
    }
    let expires = args.expires.map(|when| when.moment(tools.clock.since_epoch())).transpose()?;
    let session = Session::open(tools, &args.login, &args.network).await?;
    let subject = subject(tools, &args.network, &session, &args.function, &args.caller).await?;
    let pds = session.xrpc(&tools.http);
    let place = [
        ("repo", session.did.as_str()),
        ("collection", FUNCTION_COLLECTION),
        ("rkey", subject.function.as_str()),
    ];
    let function: Found = pds.query(GET_RECORD, place).await?;
    let mut record = json!({
        "$type": GRANT_COLLECTION,
        "function": subject.function_uri(),
        "caller": subject.caller,
        "createdAt": put::now(&tools.clock),
    });
    if let Some(moment) = expires {
        record["expiresAt"] = json!(moment.to_string());
    }
    let written = put::record(&pds, &session, GRANT_COLLECTION, &subject.record_key(), &record).await?;
    let value = json!({
        "uri": written.uri,
        "cid": written.cid,
        "function": record["function"],
        "caller": record["caller"],
        "expiresAt": record["expiresAt"],
    });
    let until = record["expiresAt"].as_str().map_or_else(String::new, |end| format!(" until {end}"));
    let report = Report::json_or(args.json, &value, || {
        format!(
            "granted: {} may run {}{until}\nservices see it within half a minute",
            subject.caller,
            subject.function_uri()
        )
    });
    if subject.caller == subject.author {
        return Ok(report.with_notes("note: that is you, who may run it anyway"));
    }
    if function.value["public"] != json!(false) {
        return Ok(report.with_notes(
            "note: the function is public, so everybody may run it; deploy it with --private for grants to matter",
        ));
    }
    Ok(report)
}

/// Runs `ungrant`.
pub(super) async fn ungrant(tools: &Tools, args: UngrantArgs) -> Result<Report, CliError> {
    let session = Session::open(tools, &args.login, &args.network).await?;
    let subject = subject(tools, &args.network, &session, &args.function, &args.caller).await?;
    let pds = session.xrpc(&tools.http);
    let key = subject.record_key();
    let place = [("repo", session.did.as_str()), ("collection", GRANT_COLLECTION), ("rkey", key.as_str())];
    // A PDS deletes what is not there without a word, so it is looked at first.
    let _: Value = pds.query(GET_RECORD, place).await?;
    pds.command(
        DELETE_RECORD,
        json!({"repo": session.did, "collection": GRANT_COLLECTION, "rkey": key.as_str()}),
    )
    .await?;
    let uri = format!("at://{}/{GRANT_COLLECTION}/{key}", session.did);
    let value =
        json!({"uri": uri, "function": subject.function_uri(), "caller": subject.caller, "deleted": true});
    Ok(Report::json_or(args.json, &value, || {
        format!("taken back: {} may no longer run {}", subject.caller, subject.function_uri())
    }))
}

async fn subject(
    tools: &Tools,
    network: &NetworkArgs,
    session: &Session,
    function: &Target,
    caller: &Authority,
) -> Result<GrantSubject, CliError> {
    let function = function.key_in(session)?.clone();
    let caller = match caller {
        Authority::Did(did) => did.clone(),
        handle => locate::account(tools, network, handle).await?.did,
    };
    Ok(GrantSubject { author: session.did.clone(), function, caller })
}

/// Runs `grants`.
pub(super) async fn grants(tools: &Tools, args: GrantsArgs) -> Result<Report, CliError> {
    let account = match &args.repo {
        Some(repo) => locate::account(tools, &args.network, repo).await?,
        None => session::own_account(tools, &args.network, &args.account).await?,
    };
    let pds = Xrpc::anonymous(&tools.http, &account.pds);
    let (records, complete) = list::records(&pds, &account, GRANT_COLLECTION).await?;
    let now = tools.clock.since_epoch();
    let listed: Vec<_> =
        records.iter().map(|record| (record, State::of(record, &account.did, now))).collect();
    let grants: Vec<Value> = listed
        .iter()
        .map(|(record, state)| json!({"uri": record.uri, "state": state.as_str(), "record": record.value}))
        .collect();
    let value = json!({"repo": account.did, "verified": false, "complete": complete, "grants": grants});
    let report = Report::json_or(args.json, &value, || text(&account.did, &listed));
    if args.json {
        return Ok(report);
    }
    let mut notes = format!("unproved: as {} lists them", host_of(&account.pds));
    if !complete {
        notes.push_str("; there are more, which are not shown");
    }
    Ok(report.with_notes(notes))
}

/// What a record of the collection is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Holds,
    Expired,
    /// It is malformed, of another repo's function, or under another key than its own.
    GrantsNothing,
}

impl State {
    fn of(record: &Listed, repo: &Did, now: Duration) -> State {
        match grant_in(record, repo) {
            Some(grant) if grant.holds(now) => State::Holds,
            Some(_) => State::Expired,
            None => State::GrantsNothing,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            State::Holds => "holds",
            State::Expired => "expired",
            State::GrantsNothing => "grants nothing",
        }
    }
}

fn grant_in(record: &Listed, repo: &Did) -> Option<Grant> {
    let function = AtUri::parse(record.value["function"].as_str()?).ok()?;
    let subject = GrantSubject {
        author: repo.clone(),
        function: function.rkey,
        caller: Did::parse(record.value["caller"].as_str()?).ok()?,
    };
    let own = record.uri.rsplit('/').next() == Some(subject.record_key().as_str());
    let value = json_to_ipld(&record.value).ok().filter(|_| own)?;
    Grant::from_record(&value, &subject).ok()
}

fn text(repo: &Did, grants: &[(&Listed, State)]) -> String {
    if grants.is_empty() {
        return format!("{repo} has no grants");
    }
    let head = ["FUNCTION", "CALLER", "STATE", "EXPIRES"].map(str::to_owned);
    let rows = grants.iter().map(|(record, state)| {
        let field = |name: &str| printable(record.value[name].as_str().unwrap_or("-"));
        [field("function"), field("caller"), state.as_str().to_owned(), field("expiresAt")]
    });
    output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_767_225_600);

    #[test]
    fn an_end_is_a_time_from_now_or_a_moment() {
        let end = |text: &str| when(text).unwrap().moment(NOW).unwrap().to_string();
        assert_eq!(end("90m"), "2026-01-01T01:30:00Z");
        assert_eq!(end("12h"), "2026-01-01T12:00:00Z");
        assert_eq!(end("30d"), "2026-01-31T00:00:00Z");
        assert_eq!(end("1w"), "2026-01-08T00:00:00Z");
        assert_eq!(end("2030-01-01T01:00:00+01:00"), "2030-01-01T00:00:00Z");
        for text in
            ["", "d", "30", "-1d", "1.5d", "30y", "30 d", "tomorrow", "2030-01-01", "5000000000d", "1\u{e9}"]
        {
            assert!(when(text).is_err(), "{text}");
        }
        for text in ["0m", "2026-01-01T00:00:00Z", "1999-01-01T00:00:00Z", "4000000000w"] {
            assert!(when(text).unwrap().moment(NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_listed_is_told_for_what_it_is_worth() {
        let repo = Did::parse("did:web:author.example.com").unwrap();
        let uri = "at://did:web:author.example.com/at.functions.metadata/echo";
        let caller = Did::parse("did:web:caller.example.com").unwrap();
        let function = AtUri::parse(uri).unwrap().rkey;
        let key = GrantSubject { author: repo.clone(), function, caller }.record_key();
        let state = |key: &str, change: fn(&mut Value)| {
            let mut value = json!({
                "$type": "at.functions.grant",
                "function": uri,
                "caller": "did:web:caller.example.com",
                "createdAt": "2026-01-01T00:00:00Z",
            });
            change(&mut value);
            let listed = json!({"uri": format!("at://{repo}/at.functions.grant/{key}"), "value": value});
            State::of(&serde_json::from_value(listed).unwrap(), &repo, NOW)
        };
        assert_eq!(state(key.as_str(), |_| ()), State::Holds);
        assert_eq!(
            state(key.as_str(), |grant| grant["expiresAt"] = json!("2025-01-01T00:00:00Z")),
            State::Expired
        );
        assert_eq!(state(key.as_str(), |grant| grant["expiresAt"] = json!("soon")), State::GrantsNothing);
        assert_eq!(state(key.as_str(), |grant| grant["caller"] = json!(1)), State::GrantsNothing);
        assert_eq!(state("self", |_| ()), State::GrantsNothing);
        let others = |grant: &mut Value| {
            grant["function"] = json!("at://did:web:other.example.com/at.functions.metadata/echo");
        };
        assert_eq!(state(key.as_str(), others), State::GrantsNothing);
    }
}
