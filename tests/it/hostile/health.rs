//! Asks for the service's health again and again while a row of the exam goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(2);
/// Questions at least, however short the row.
const AT_LEAST: usize = 25;

/// Whoever asks, on a thread and a connection of its own, so that only the service's time is measured.
pub(crate) struct Health {
    over: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Duration>>,
}

impl Health {
    pub(crate) fn watch(port: u16) -> Health {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        Health { over, asking: thread::spawn(move || ask(port, &until)) }
    }

    /// Ends it, and gives the 99th percentile of what it took to be answered. Panics where an answer did
    /// not come or was no health.
    pub(crate) fn p99(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        let mut took = self.asking.join().expect("the service answers for its health throughout");
        took.sort();
        took[took.len() * 99 / 100]
    }
}

fn ask(port: u16, over: &AtomicBool) -> Vec<Duration> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut took = Vec::new();
    // The first answer makes the connection known to the service.
    answer(&mut stream);
    while !over.load(Ordering::Relaxed) || took.len() < AT_LEAST {
        let began = Instant::now();
        answer(&mut stream);
        took.push(began.elapsed());
        thread::sleep(PAUSE);
    }
    took
}

fn answer(stream: &mut TcpStream) {
    stream.write_all(b"GET /xrpc/_health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"}") {
        let mut part = [0; 2048];
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "the service closed the connection");
        text.extend_from_slice(&part[..read]);
    }
    assert!(text.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&text));
}
