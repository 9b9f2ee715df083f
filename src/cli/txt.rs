//! TXT records of a domain, by the machine's name servers or one that is named.

use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::error::CliError;

/// The texts at this name; none where there is no such name.
pub(super) async fn records(server: Option<SocketAddr>, name: &str) -> Result<Vec<String>, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        CliError::setting(
            format!("DNS, asked for {name}"),
            format!("{error}: check your connection, then try again"),
        )
    };
    let resolver = match server {
        None => TokioResolver::builder_tokio(),
        Some(address) => {
            let mut connection = ConnectionConfig::udp();
            connection.port = address.port();
            let mut server = NameServerConfig::udp(address.ip());
            server.connections = vec![connection];
            let config = ResolverConfig::from_name_servers(vec![server]);
            Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
        }
    };
    let resolver = resolver.and_then(|builder| builder.build()).map_err(|error| failed(&error))?;
    // With the dot at its end, no search domain is tried.
    match resolver.txt_lookup(format!("{name}.")).await {
        Ok(lookup) => Ok(lookup.answers().iter().filter_map(|record| text_of(&record.data)).collect()),
        Err(error) if error.is_no_records_found() => Ok(Vec::new()),
        Err(error) => Err(failed(&error)),
    }
}

fn text_of(data: &RData) -> Option<String> {
    match data {
        RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).ok(),
        _ => None,
    }
}

/// What the one text `did=...` says; two of them say nothing.
pub(super) fn did(records: &[String]) -> Option<&str> {
    let mut dids = records.iter().filter_map(|text| text.strip_prefix("did="));
    let did = dids.next()?;
    if dids.next().is_some() { None } else { Some(did) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_names_one_did_or_none() {
        let records = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(did(&records(&["other", "did=did:web:a.com"])), Some("did:web:a.com"));
        assert_eq!(did(&records(&[])), None);
        assert_eq!(did(&records(&["did=did:web:a.com", "did=did:web:a.com"])), None);
    }
}
