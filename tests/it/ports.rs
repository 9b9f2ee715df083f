//! Ports on loopback at which nobody listens.
//!
//! In: nothing. Out: a port that stays free until the test takes it, or for good. Never: one of those that the
//! kernel chooses from for whoever asks for any (`ip_local_port_range`, from 32768), which another test, or
//! an outgoing connection, would have a moment later.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u32 = 20_000;

/// A port at which nobody listens, and that no other call gets.
pub fn closed_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test programs that run beside each other begin at places of their own.
    let start = std::process::id().wrapping_mul(211);
    let mut ports = std::iter::repeat_with(|| {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        FIRST + u16::try_from(number).unwrap()
    });
    ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}
