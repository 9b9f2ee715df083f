//! What a worker does: runs one guest in a fresh instance, within its limits.
//!
//! In: an artifact, an input, limits, and a door for host calls. Out: an outcome and what it cost.
//! Never: know of HTTP, DIDs or repos, keep anything from one run to the next, or reach anything but
//! the door.
