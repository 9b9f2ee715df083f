//! `rollback`: brings back a version that was deployed from this machine, record and code.

use clap::Args;
use serde_json::{Value, json};

use super::Tools;
use super::ask;
use super::changes::Changes;
use super::client::Xrpc;
use super::colour::Colour;
use super::deployed::{Deployed, Shelf};
use super::error::CliError;
use super::list;
use super::locate::NetworkArgs;
use super::output::{self, Report};
use super::put::{self, Found};
use super::session::{self, LoginArgs, Session};
use super::target::{Target, target};
use super::upload;
use super::waiting::{self, WaitArgs};
use crate::lexicon::{FUNCTION_COLLECTION, RecordKey};

/// Bring back an earlier version of one of your functions.
///
/// `deploy` keeps what it deployed from this machine: the last 20 versions of each function, up to 64 MiB. The record is written
/// as it was, so that it has its CID again and callers who pinned it are served. Without --to, it is the version before the one
/// that is deployed.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions rollback echo
  at-functions rollback echo --to 1.2.0
  at-functions rollback --list

The versions are kept in $XDG_DATA_HOME/at-functions/deployed (~/.local/share/at-functions/deployed), or below
AT_FUNCTIONS_HOME.

",
    exit_codes!()
))]
pub(super) struct RollbackArgs {
    /// The function: its at-uri, or the key of its record
    #[arg(value_name = "AT_URI|NAME", value_parser = target, required_unless_present = "list")]
    function: Option<Target>,
    /// The version to bring back: its number, or the CID of its record or code
    #[arg(long, value_name = "VERSION|CID", conflicts_with = "list")]
    to: Option<String>,
    /// Show what is kept, and change nothing
    #[arg(long)]
    list: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print JSON: {uri, cid, version, codeCid}; with --list: {repo, kept: [{uri, cid, version, codeCid, deployedAt, current}]}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Runs the command.
pub(super) async fn rollback(tools: &Tools, args: RollbackArgs) -> Result<Report, CliError> {
    let Some(function) = args.function.as_ref().filter(|_| !args.list) else {
        return show(tools, &args).await;
    };
    ask::answerable(args.yes)?;
    let service = args.wait.service()?;
    let session = Session::open(tools, &args.login, &args.network).await?;
    let rkey = function.key_in(&session)?;
    let uri = format!("at://{}/{FUNCTION_COLLECTION}/{rkey}", session.did);
    let shelf = Shelf::of(tools.home.as_ref(), &session.did)?;
    let pds = session.xrpc(&tools.http);
    let found = put::found(&pds, &session, FUNCTION_COLLECTION, rkey).await?;
    let kept = shelf.all(rkey)?;
    let current = found.as_ref().and_then(|found| found.cid.as_deref());
    let back = choice(&kept, current, args.to.as_deref()).map_err(|why| CliError::setting(&uri, why))?;
    let (file, code) = shelf.code(back, rkey)?;
    if !args.yes && !confirmed(&uri, back, found.as_ref()).await {
        return Err(CliError::Declined("rolled back"));
    }
    upload::fits(tools, &session, &file, code.len() as u64).await?;
    upload::upload(tools, &session, &file, code).await?;
    let written = put::in_place_of(current, &pds, &session, FUNCTION_COLLECTION, rkey, &back.record).await?;
    let waited = waiting::until_it_has(tools, &session, service, &uri, &written.cid).await?;
    let value =
        json!({"uri": uri, "cid": written.cid, "version": back.version(), "codeCid": back.code_cid()});
    let report = Report::json_or(args.json, &value, || {
        let version = output::printable(back.version());
        let again = if written.cid == back.cid { " again" } else { "" };
        format!("rolled {uri} back to {version}\nits record is {}{again}", output::printable(&written.cid))
    });
    Ok(report.and(&waited))
}

async fn confirmed(uri: &str, back: &Deployed, found: Option<&Found>) -> bool {
    let changes = Changes::between(found.map(|found| &found.value), &back.record);
    output::note(&format!("{uri} changes back:\n{}", changes.text(Colour::of_stderr())));
    ask::confirmed("Roll it back? [y/N] ").await
}

/// Which of what is kept, the oldest first, is to come back.
fn choice<'a>(kept: &'a [Deployed], current: Option<&str>, to: Option<&str>) -> Result<&'a Deployed, String> {
    let Some(newest) = kept.last() else {
        return Err("nothing of it is kept: `deploy` on this machine keeps what it deploys".to_owned());
    };
    let at = current.and_then(|cid| kept.iter().rposition(|kept| kept.cid == cid));
    let chosen = match (to, at) {
        (Some(to), _) => {
            let is_it = |kept: &&Deployed| [kept.cid.as_str(), kept.code_cid(), kept.version()].contains(&to);
            let versions =
                || kept.iter().map(|kept| super::error::shown(kept.version())).collect::<Vec<_>>().join(", ");
            kept.iter()
                .rev()
                .find(is_it)
                .ok_or_else(|| format!("no version {to} of it is kept; there are {}", versions()))?
        }
        (None, Some(0)) => {
            return Err("no version before the one that is deployed is kept; --list shows all".to_owned());
        }
        (None, Some(at)) => &kept[at - 1],
        // What is deployed came from elsewhere, or was deleted.
        (None, None) => newest,
    };
    match current == Some(chosen.cid.as_str()) {
        true => Err(format!("{} is what is deployed", super::error::shown(chosen.version()))),
        false => Ok(chosen),
    }
}

async fn show(tools: &Tools, args: &RollbackArgs) -> Result<Report, CliError> {
    let account = session::own_account(tools, &args.network, &args.login.account).await?;
    let shelf = Shelf::of(tools.home.as_ref(), &account.did)?;
    let keys: Vec<RecordKey> = match &args.function {
        Some(Target::Key(key)) => vec![key.clone()],
        Some(Target::Uri(uri)) => vec![uri.rkey.clone()],
        None => shelf.functions()?,
    };
    let pds = Xrpc::anonymous(&tools.http, &account.pds);
    let (listed, _) = list::records(&pds, &account, FUNCTION_COLLECTION).await?;
    let mut kept = Vec::new();
    for key in &keys {
        let uri = format!("at://{}/{FUNCTION_COLLECTION}/{key}", account.did);
        let current = listed.iter().find(|record| record.uri == uri).map(|record| record.cid.as_str());
        for one in shelf.all(key)?.into_iter().rev() {
            let is_current = current == Some(one.cid.as_str());
            kept.push((uri.clone(), one, is_current));
        }
    }
    let rows: Vec<Value> = kept
        .iter()
        .map(|(uri, one, current)| {
            json!({
                "uri": uri, "cid": one.cid, "version": one.version(), "codeCid": one.code_cid(),
                "deployedAt": when(one), "current": current,
            })
        })
        .collect();
    Ok(Report::json_or(args.json, &json!({"repo": account.did, "kept": rows}), || table(&kept)))
}

fn table(kept: &[(String, Deployed, bool)]) -> String {
    if kept.is_empty() {
        return "nothing is kept: `deploy` on this machine keeps what it deploys".to_owned();
    }
    let head = ["", "FUNCTION", "VERSION", "DEPLOYED", "RECORD"].map(str::to_owned);
    let row = |(_, one, current): &(String, Deployed, bool)| {
        let mark = if *current { "*" } else { "" };
        [mark.to_owned(), one.rkey.clone(), one.version().to_owned(), when(one), one.cid.clone()]
    };
    output::table(&std::iter::once(head).chain(kept.iter().map(row)).collect::<Vec<_>>())
}

/// To the second.
fn when(kept: &Deployed) -> String {
    let seconds = i64::try_from(kept.at_millis / 1000).ok();
    seconds
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(versions: &[(&str, &str)]) -> Vec<Deployed> {
        let one = |(index, (version, code)): (usize, &(&str, &str))| Deployed {
            rkey: "echo".to_owned(),
            cid: format!("record{index}"),
            at_millis: index as u64,
            record: json!({"version": version, "code": {"ref": {"$link": code}}}),
        };
        versions.iter().enumerate().map(one).collect()
    }

    #[test]
    fn the_version_before_the_deployed_one_comes_back() {
        let kept = kept(&[("0.1.0", "a"), ("0.2.0", "b"), ("0.3.0", "c")]);
        let back =
            |current, to| choice(&kept, current, to).map(Deployed::version).map_err(|why| why.to_string());
        assert_eq!(back(Some("record2"), None).as_deref(), Ok("0.2.0"));
        assert_eq!(back(Some("record1"), None).as_deref(), Ok("0.1.0"));
        assert!(back(Some("record0"), None).unwrap_err().contains("no version before"));
        for deleted_or_of_elsewhere in [None, Some("other")] {
            assert_eq!(back(deleted_or_of_elsewhere, None).as_deref(), Ok("0.3.0"));
        }
        assert!(choice(&[], None, None).unwrap_err().contains("nothing of it is kept"));
    }

    #[test]
    fn a_version_is_named_by_its_number_or_a_cid() {
        let kept = kept(&[("0.1.0", "a"), ("0.2.0", "b"), ("0.2.0", "c"), ("0.3.0", "d")]);
        let back = |to| choice(&kept, Some("record3"), Some(to)).map(|kept| kept.cid.as_str());
        assert_eq!(back("0.2.0").as_deref(), Ok("record2"));
        assert_eq!(back("b").as_deref(), Ok("record1"));
        assert_eq!(back("record0").as_deref(), Ok("record0"));
        assert_eq!(back("0.3.0").unwrap_err(), "0.3.0 is what is deployed");
        assert_eq!(
            back("9").unwrap_err(),
            "no version 9 of it is kept; there are 0.1.0, 0.2.0, 0.2.0, 0.3.0"
        );
    }
}
