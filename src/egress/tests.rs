//! The way out against servers on loopback that do what hostile ones would.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::url::Url;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::gate::GateLimits;
use super::hosts::HostLimits;
use super::testing::{PRIVATE, PUBLIC, RawServer, TestDns, egress, limited_egress};
use super::*;
use crate::identity::Did;

const CAP: usize = 64 * 1024;

fn url(host: &str, port: u16) -> Url {
    Url::parse(&format!("http://{host}:{port}/x")).unwrap()
}

fn get(url: &Url) -> Get<'_> {
    // More than any answer takes that comes at all.
    let timeout = Duration::from_secs(60);
    Get {
        url,
        accept: "*/*",
        max_bytes: CAP,
        timeout,
        redirects: Redirects::Follow(3),
        for_author: None,
        rationed: false,
    }
}

async fn ask(egress: &Egress, host: &str, port: u16) -> Result<Response, EgressError> {
    egress.get(get(&url(host, port))).await
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
}

fn body(text: &str) -> Result<Response, EgressError> {
    let content_type = Some("text/plain".to_owned());
    Ok(Response { status: 200, content_type, body: Bytes::copy_from_slice(text.as_bytes()) })
}

#[tokio::test]
async fn an_answer_comes_back_and_the_request_reveals_only_what_it_must() {
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let heads = Arc::clone(&seen);
    let server = RawServer::start(PUBLIC, move |head, mut stream| {
        *heads.lock().unwrap() = head;
        async move { stream.write_all(ok("hello").as_bytes()).await.unwrap() }
    })
    .await;
    assert_eq!(ask(&egress(&TestDns::default()), "a.com", server.port).await, body("hello"));
    let head = seen.lock().unwrap().to_ascii_lowercase();
    let mut names: Vec<&str> =
        head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
    assert!(head.starts_with("get /x http/1.1"), "{head}");
}

#[tokio::test]
async fn a_name_with_a_private_address_is_not_connected_to() {
    let dns = TestDns::default();
    let server = RawServer::saying(PRIVATE, ok("secret")).await;
    dns.set_addresses("evil.com", &[&[PRIVATE]]);
    let answer = ask(&egress(&dns), "evil.com", server.port).await;
    assert_eq!(answer, Err(EgressError::Blocked(BlockReason::Address)));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn private_addresses_are_dropped_from_a_mixed_answer() {
    let dns = TestDns::default();
    let server = RawServer::saying(PUBLIC, ok("public")).await;
    dns.set_addresses("mixed.com", &[&[PRIVATE, PUBLIC, "::1".parse().unwrap()]]);
    assert_eq!(ask(&egress(&dns), "mixed.com", server.port).await, body("public"));
}

#[tokio::test]
async fn a_name_that_turns_private_after_its_first_answer_is_not_connected_to() {
    let dns = TestDns::default();
    let server = RawServer::saying(PUBLIC, ok("public")).await;
    let inside =
        tokio::net::TcpListener::bind((PRIVATE, server.port)).await.expect("the same port, other address");
    dns.set_addresses("rebind.com", &[&[PUBLIC], &[PRIVATE]]);
    let egress = egress(&dns);
    assert_eq!(ask(&egress, "rebind.com", server.port).await, body("public"));
    let again = ask(&egress, "rebind.com", server.port).await;
    assert_eq!(again, Err(EgressError::Blocked(BlockReason::Address)));
    let connected = tokio::time::timeout(Duration::from_millis(20), inside.accept()).await;
    assert!(connected.is_err(), "nothing connected to the private address");
    assert_eq!(dns.asked(), 2);
}

#[tokio::test]
async fn literals_are_refused_even_where_their_address_is_allowed() {
    let server = RawServer::saying(PUBLIC, ok("x")).await;
    let egress = egress(&TestDns::default());
    for host in ["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let refused = ask(&egress, host, server.port).await;
        assert_eq!(refused, Err(EgressError::Blocked(BlockReason::Address)), "{host}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_public_rules_block_loopback_without_sending_anything() {
    let server = RawServer::saying(PUBLIC, ok("x")).await;
    let egress = Egress::with_parts(Rules::public(), Arc::new(TestDns::default()), HostLimits::default());
    let over_https = Url::parse(&format!("https://a.com:{}/", server.port)).unwrap();
    let refused = egress.unwrap().get(get(&over_https)).await;
    assert_eq!(refused, Err(EgressError::Blocked(BlockReason::Address)));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_default_is_the_public_internet_over_tls() {
    let server = RawServer::saying(PUBLIC, ok("x")).await;
    let egress = Egress::new(EgressConfig::default()).unwrap();
    let cases = [
        ("http://a.com/".to_owned(), BlockReason::Scheme),
        (format!("https://127.0.0.1:{}/", server.port), BlockReason::Address),
        (format!("https://localhost:{}/", server.port), BlockReason::Host),
    ];
    for (url, reason) in cases {
        let url = Url::parse(&url).unwrap();
        assert_eq!(egress.get(get(&url)).await, Err(EgressError::Blocked(reason)), "{url}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_private_network_may_be_reached_when_the_operator_allows_it() {
    let server = RawServer::saying(PRIVATE, ok("pds")).await;
    let egress = Egress::new(EgressConfig { allow_private_network: true }).unwrap();
    assert_eq!(ask(&egress, "127.0.0.2", server.port).await, body("pds"));
    let local = RawServer::saying(PUBLIC, ok("local")).await;
    assert_eq!(ask(&egress, "localhost", local.port).await, body("local"));
}

#[tokio::test]
async fn a_redirect_is_checked_like_a_request() {
    let dns = TestDns::default();
    dns.set_addresses("inside.com", &[&[PRIVATE]]);
    let target = RawServer::saying(PRIVATE, ok("secret")).await;
    let egress = egress(&dns);
    let cases = [
        (format!("http://127.0.0.2:{}/", target.port), BlockReason::Address),
        (format!("http://[::ffff:127.0.0.2]:{}/", target.port), BlockReason::Address),
        (format!("http://inside.com:{}/", target.port), BlockReason::Address),
        (format!("//inside.com:{}/", target.port), BlockReason::Address),
        (format!("http://localhost:{}/", target.port), BlockReason::Host),
        (format!("http://user@a.com:{}/", target.port), BlockReason::Credentials),
        ("http://a.com:25/".to_owned(), BlockReason::Port),
        ("file:///etc/passwd".to_owned(), BlockReason::Scheme),
    ];
    for (to, reason) in cases {
        let server = RawServer::saying(PUBLIC, redirect(&to)).await;
        let answer = ask(&egress, "a.com", server.port).await;
        assert_eq!(answer, Err(EgressError::Blocked(reason)), "{to}");
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn redirects_are_followed_up_to_their_number_and_only_when_wanted() {
    let egress = egress(&TestDns::default());
    let target = RawServer::saying(PUBLIC, ok("there")).await;
    let hop = RawServer::saying(PUBLIC, redirect(&format!("http://b.com:{}/y", target.port))).await;
    assert_eq!(ask(&egress, "a.com", hop.port).await, body("there"));

    let first = url("a.com", hop.port);
    let none = egress.get(Get { redirects: Redirects::None, ..get(&first) }).await.unwrap();
    assert_eq!((none.status, none.is_success()), (302, false));
    let zero = egress.get(Get { redirects: Redirects::Follow(0), ..get(&first) }).await;
    assert_eq!(zero, Err(EgressError::TooManyRedirects));

    let around = RawServer::saying(PUBLIC, redirect("/x")).await;
    assert_eq!(ask(&egress, "a.com", around.port).await, Err(EgressError::TooManyRedirects));
    assert_eq!(around.connections(), 4);
    let nowhere = RawServer::saying(PUBLIC, "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(ask(&egress, "a.com", nowhere.port).await, Err(EgressError::BadRedirect));
}

#[tokio::test]
async fn a_body_past_the_budget_is_refused_however_it_comes() {
    let egress = egress(&TestDns::default());
    let claimed = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", CAP + 1);
    let unframed = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(CAP + 1));
    for bytes in [claimed, unframed] {
        let server = RawServer::saying(PUBLIC, bytes).await;
        assert_eq!(ask(&egress, "a.com", server.port).await, Err(EgressError::TooLarge));
    }
    let exact = "a".repeat(CAP);
    let server = RawServer::saying(PUBLIC, ok(&exact)).await;
    assert_eq!(ask(&egress, "a.com", server.port).await, body(&exact));
}

#[tokio::test]
async fn an_endless_chunked_body_is_cut_off() {
    let server = RawServer::start(PUBLIC, |_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"4\r\naaaa\r\n").await.is_ok() {}
    })
    .await;
    let answer = ask(&egress(&TestDns::default()), "a.com", server.port).await;
    assert_eq!(answer, Err(EgressError::TooLarge));
}

#[tokio::test]
async fn a_gzip_bomb_is_cut_off_and_honest_gzip_is_read() {
    let egress = egress(&TestDns::default());
    let serve = |gzip: Vec<u8>| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            gzip.len()
        );
        RawServer::saying(PUBLIC, [head.into_bytes(), gzip].concat())
    };
    let bomb = gzip_of_zeros(100 * 1024 * 1024 / 258);
    assert!(bomb.len() < 1024 * 1024);
    let server = serve(bomb).await;
    assert_eq!(ask(&egress, "a.com", server.port).await, Err(EgressError::TooLarge));
    let server = serve(gzip_stored(b"hello")).await;
    assert_eq!(ask(&egress, "a.com", server.port).await, body("hello"));
    let mut broken = gzip_stored(b"hello");
    broken[15] ^= 1;
    let server = serve(broken).await;
    assert_eq!(ask(&egress, "a.com", server.port).await, Err(EgressError::Unreachable));
}

#[tokio::test]
async fn an_error_answer_is_read_in_part_and_judged_by_the_caller() {
    let long = "e".repeat(CAP * 2);
    let head = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n", long.len());
    let server = RawServer::saying(PUBLIC, head + &long).await;
    let answer = ask(&egress(&TestDns::default()), "a.com", server.port).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (404, 16 * 1024));
}

#[tokio::test]
async fn a_peer_that_dawdles_runs_into_the_timeout() {
    let egress = egress(&TestDns::default());
    let silent = RawServer::start(PUBLIC, |_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let dripping = RawServer::start(PUBLIC, |_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n").await;
        while stream.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let in_the_head = RawServer::start(PUBLIC, |_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for server in [silent, dripping, in_the_head] {
        let url = url("a.com", server.port);
        let answer = egress.get(Get { timeout: Duration::from_millis(100), ..get(&url) }).await;
        assert_eq!(answer, Err(EgressError::Timeout));
    }
}

#[tokio::test]
async fn what_is_not_http_is_unreachable() {
    let egress = egress(&TestDns::default());
    let many: String = (0..200).map(|n| format!("h{n}: v\r\n")).collect();
    let huge = format!("x: {}\r\n", "v".repeat(1024 * 1024));
    let answers = [
        String::new(),
        "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{huge}content-length: 0\r\n\r\n"),
    ];
    for bytes in answers {
        let server = RawServer::saying(PUBLIC, bytes.clone()).await;
        let answer = ask(&egress, "a.com", server.port).await;
        assert_eq!(answer, Err(EgressError::Unreachable), "{}", &bytes[..bytes.len().min(60)]);
    }
}

#[tokio::test]
async fn names_that_do_not_exist_are_told_apart_from_hosts_that_do_not_listen() {
    let dns = TestDns::default();
    dns.set_addresses("nowhere.com", &[]);
    dns.set_addresses("empty.com", &[&[]]);
    let egress = egress(&dns);
    let closed = tokio::net::TcpListener::bind((PUBLIC, 0)).await.unwrap().local_addr().unwrap().port();
    assert_eq!(ask(&egress, "nowhere.com", closed).await, Err(EgressError::NoSuchHost));
    assert_eq!(ask(&egress, "empty.com", closed).await, Err(EgressError::NoSuchHost));
    assert_eq!(ask(&egress, "a.com", closed).await, Err(EgressError::Unreachable));
}

#[tokio::test]
async fn a_host_that_answers_429_is_left_alone() {
    let egress = egress(&TestDns::default());
    let limiting = "HTTP/1.1 429 Slow\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n";
    let server = RawServer::saying(PUBLIC, limiting).await;
    let first = ask(&egress, "a.com", server.port).await;
    assert_eq!(first, Err(EgressError::RateLimited { retry_after: Duration::from_secs(30) }));
    let Err(EgressError::RateLimited { retry_after }) = ask(&egress, "a.com", server.port).await else {
        panic!("the second request is refused too")
    };
    assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_secs(30));
    assert_eq!(server.connections(), 1);
    let other = RawServer::saying(PUBLIC, ok("fine")).await;
    assert_eq!(ask(&egress, "a.com", other.port).await, body("fine"));
}

#[tokio::test]
async fn a_host_gets_its_share_of_requests_and_authors_take_turns() {
    let host = GateLimits { places: 2, lane_places: 1, queue: 3, lane_queue: 2 };
    let egress = limited_egress(&TestDns::default(), HostLimits { host, exchanges: 100, hosts: 100 });
    let open = Arc::new(Semaphore::new(0));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (door, counts) = (Arc::clone(&open), (Arc::clone(&now), Arc::clone(&most)));
    let server = RawServer::start(PUBLIC, move |_, mut stream| {
        let (door, (now, most)) = (Arc::clone(&door), counts.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            door.acquire().await.unwrap().forget();
            now.fetch_sub(1, Ordering::SeqCst);
            let _ = stream.write_all(ok("x").as_bytes()).await;
        }
    })
    .await;
    let author = |name: &str| Did::parse(&format!("did:web:{name}.com")).unwrap();
    let start = |name: &str| {
        let (egress, author, url) = (egress.clone(), author(name), url("pds.com", server.port));
        tokio::spawn(async move { egress.get(Get { for_author: Some(&author), ..get(&url) }).await })
    };
    // One place for the loud author although two are free, then two in its queue, and no more.
    let mut running = vec![start("loud"), start("loud"), start("loud")];
    while now.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(start("loud").await.unwrap(), Err(EgressError::Busy));
    running.push(start("quiet"));
    while now.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
    open.add_permits(100);
    for request in running {
        assert_eq!(request.await.unwrap(), body("x"));
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_host_that_was_asked_late_by_our_own_queue_is_not_said_to_be_slow() {
    let host = GateLimits { places: 1, lane_places: 1, queue: 8, lane_queue: 8 };
    let egress = limited_egress(&TestDns::default(), HostLimits { host, exchanges: 100, hosts: 100 });
    let server = RawServer::start(PUBLIC, |_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let url = url("a.com", server.port);
    let ask = |timeout| egress.get(Get { timeout: Duration::from_millis(timeout), ..get(&url) });
    let (first, second) = tokio::join!(ask(1_500), ask(2_700));
    assert_eq!((first, second), (Err(EgressError::Timeout), Err(EgressError::Busy)));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn what_one_author_may_ask_a_host_is_bounded_by_each_way_to_it_and_nobody_elses() {
    let egress = egress(&TestDns::default());
    let server = RawServer::saying(PUBLIC, ok("x")).await;
    let target = url("pds.com", server.port);
    let detour = format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
    let detour = RawServer::saying(PUBLIC, detour).await;
    let [loud, quiet] = ["did:web:loud.com", "did:web:quiet.com"].map(|did| Did::parse(did).unwrap());
    while egress.0.hosts.ration(&target, &loud).is_ok() {}

    let ask = async |url: &Url, author: &Did, rationed: bool| {
        egress.get(Get { for_author: Some(author), rationed, ..get(url) }).await
    };
    let refused =
        |answer| matches!(answer, Err(EgressError::RateLimited { retry_after }) if !retry_after.is_zero());
    assert!(refused(ask(&target, &loud, true).await));
    // A host of the author's own that sends all questions on to that one is no way around it.
    for rationed in [true, false] {
        assert!(refused(ask(&url("evil.com", detour.port), &loud, rationed).await));
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(ask(&target, &quiet, true).await, body("x"));
    // What the service needs to run the author's functions goes on.
    assert_eq!(ask(&target, &loud, false).await, body("x"));
}

#[tokio::test]
async fn a_request_that_is_dropped_gives_its_place_back() {
    let host = GateLimits { places: 1, lane_places: 1, queue: 0, lane_queue: 0 };
    let egress = limited_egress(&TestDns::default(), HostLimits { host, exchanges: 1, hosts: 100 });
    let server = RawServer::start(PUBLIC, |head, mut stream| async move {
        if head.contains("/hang") {
            std::future::pending::<()>().await;
        }
        let _ = stream.write_all(ok("x").as_bytes()).await;
    })
    .await;
    let hang = Url::parse(&format!("http://a.com:{}/hang", server.port)).unwrap();
    let cut_off = tokio::time::timeout(Duration::from_millis(50), egress.get(get(&hang))).await;
    assert!(cut_off.is_err());
    assert_eq!(ask(&egress, "a.com", server.port).await, body("x"));
}

#[tokio::test]
async fn txt_records_come_back_one_string_each() {
    let dns = TestDns::default();
    dns.set_txt("_atproto.a.com", &["did=did:plc:x", "other"]);
    dns.break_txt("_atproto.b.com");
    let egress = egress(&dns);
    assert_eq!(egress.txt("_atproto.a.com").await, Ok(vec!["did=did:plc:x".into(), "other".into()]));
    assert_eq!(egress.txt("_atproto.none.com").await, Ok(vec![]));
    assert_eq!(egress.txt("_atproto.b.com").await, Err(EgressError::Unreachable));
}

/// A gzip stream of `runs` times 258 zeros, by hand: a fixed Huffman block (RFC 1951 section 3.2.6) of
/// one literal and copies of the longest length from distance 1.
fn gzip_of_zeros(runs: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut push = |code: u32, length: u32| bits.extend((0..length).rev().map(|i| code >> i & 1 == 1));
    push(0b110, 3); // last block, fixed codes (01, least significant bit first)
    push(0b0011_0000, 8); // literal 0
    for _ in 0..runs {
        push(0b1100_0101, 8); // length 258
        push(0, 5); // distance 1
    }
    push(0, 7); // end of block
    let bytes = bits.chunks(8).map(|byte| byte.iter().rev().fold(0u8, |acc, &bit| acc << 1 | u8::from(bit)));
    GZIP_HEADER.iter().copied().chain(bytes).chain([0; 8]).collect()
}

const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A gzip stream of one stored block.
fn gzip_stored(data: &[u8]) -> Vec<u8> {
    let length = data.len() as u16;
    let crc = !data.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    let mut out = GZIP_HEADER.to_vec();
    out.push(1);
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(data);
    out.extend(crc.to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}
