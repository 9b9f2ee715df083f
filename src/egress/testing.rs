//! A small internet on loopback for tests: 127.0.0.1 is public, the rest of 127.0.0.0/8 is not.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Egress;
use super::address::Addresses;
use super::dns::{Answer, Lookup, LookupError};
use super::hosts::HostLimits;
use super::url::Rules;

/// The address that counts as public.
pub(crate) const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
/// One that does not.
pub(crate) const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Name servers that answer as the test says. Names not told of are at [`PUBLIC`].
#[derive(Clone, Default)]
pub(crate) struct TestDns(Arc<Mutex<Zones>>);

#[derive(Default)]
struct Zones {
    /// For each name the answers in order; the last one stays.
    addresses: HashMap<String, Vec<Vec<IpAddr>>>,
    texts: HashMap<String, Result<Vec<String>, LookupError>>,
    asked: usize,
}

impl TestDns {
    pub(crate) fn set_addresses(&self, name: &str, answers: &[&[IpAddr]]) {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        self.0.lock().unwrap().addresses.insert(name.to_owned(), answers);
    }

    pub(crate) fn set_txt(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        self.0.lock().unwrap().texts.insert(name.to_owned(), Ok(texts));
    }

    pub(crate) fn break_txt(&self, name: &str) {
        self.0.lock().unwrap().texts.insert(name.to_owned(), Err(LookupError::Failed));
    }

    /// How often addresses or texts were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }
}

impl Lookup for TestDns {
    fn addresses(&self, name: &str) -> Answer<IpAddr> {
        let mut zones = self.0.lock().unwrap();
        zones.asked += 1;
        let answer = match zones.addresses.get_mut(name) {
            None => Ok(vec![PUBLIC]),
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => answers.first().cloned().ok_or(LookupError::NoSuchName),
        };
        Box::pin(std::future::ready(answer))
    }

    fn txt(&self, name: &str) -> Answer<String> {
        let mut zones = self.0.lock().unwrap();
        zones.asked += 1;
        let answer = zones.texts.get(name).cloned().unwrap_or(Ok(Vec::new()));
        Box::pin(std::future::ready(answer))
    }
}

/// The rules of the public internet, with [`PUBLIC`] for its only address and without TLS.
pub(crate) fn egress(dns: &TestDns) -> Egress {
    limited_egress(dns, HostLimits::default())
}

pub(super) fn limited_egress(dns: &TestDns, limits: HostLimits) -> Egress {
    let rules = Rules { addresses: Addresses::Only(vec![PUBLIC]), private_names: false, plain_http: true };
    Egress::with_parts(rules, Arc::new(dns.clone()), limits).unwrap()
}

/// A server that hands each connection, with the head of its request read, to a function.
pub(crate) struct RawServer {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl RawServer {
    pub(crate) async fn start<F, Fut>(address: IpAddr, serve: F) -> RawServer
    where
        F: Fn(String, TcpStream) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                tokio::spawn(async move {
                    if let Some(head) = read_head(&mut stream).await {
                        serve(head, stream).await;
                    }
                });
            }
        });
        RawServer { port, connections }
    }

    /// One that gives every request the same bytes and closes.
    pub(crate) async fn saying(address: IpAddr, bytes: impl Into<Vec<u8>>) -> RawServer {
        let bytes: Arc<Vec<u8>> = Arc::new(bytes.into());
        RawServer::start(address, move |_, mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                // The client may have heard enough before the end.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    /// How many connections have come.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await.ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
